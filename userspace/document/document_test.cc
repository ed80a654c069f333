#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <sstream>

#include "document/answer_text.h"
#include "document/peer_reader.h"
#include "document/peer_text.h"
#include "document/status_text.h"

namespace wicket::document {
namespace {

constexpr char kKey[] = "YDCttCs9e1J52/g9vEnwJJa+2x6RqaayAYMpSVQfGEY=";
constexpr char kOther[] = "Igge9KzRytKNwrgkzDE/8hrLu6Ly0OqVdvOPWhA5KR4=";
constexpr char kSecret[] = "AKeZaHwBxjiKLFnkY2unvEdOTtg4AL+M9dQXfopFVFk=";

absl::StatusOr<std::vector<store::Peer>> ReadAll(const std::string& text, Format format,
                                                 const std::string& device = "wg0") {
  std::istringstream input(text);
  PeerReader reader(&input, format, device);
  std::vector<store::Peer> peers;
  for (;;) {
    store::Peer peer;
    WICKET_ASSIGN_OR_RETURN(const bool more, reader.Next(&peer));
    if (!more) return peers;
    peers.push_back(std::move(peer));
  }
}

TEST(PeerTextTest, JsonRoundTripsWithEveryField) {
  const std::string line = std::string("{\"public_key\":\"") + kKey +
                           "\",\"device\":\"wg1\",\"allowed_ips\":[\"10.0.0.1/32\",\"fd00::/64\"],"
                           "\"persistent_keepalive\":25,\"created_at\":\"2020-01-01T00:00:00Z\","
                           "\"expires_at\":\"2030-01-01T00:00:00Z\",\"pinned\":true,"
                           "\"quota_bytes\":5000000000,\"quota_seconds\":86400,"
                           "\"labels\":{\"a\":\"b\"},\"preshared_key\":\"" +
                           kSecret + "\"}";
  const auto peers = ReadAll(line + "\n\n" + line, Format::kNdjson);
  ASSERT_TRUE(peers.ok()) << peers.status();
  ASSERT_EQ(peers->size(), 2u);
  EXPECT_EQ(ToJsonLine(peers->front()), line);
}

TEST(PeerTextTest, ConfFilesOfWgQuickAreRead) {
  const std::string text =
      std::string("[Interface]\nPrivateKey = ") + kSecret +
      "\nListenPort = 51820 # ours\n\n[peer]\npublickey=" + kKey +
      "\nAllowedIPs = 10.0.0.1/32, fd00::1\nAllowedIPs = 10.1.0.0/16\n"
      "PersistentKeepalive = off\nEndpoint = 192.0.2.1:5\n[Peer]\nPublicKey = " +
      kOther + "\nPresharedKey = " + kSecret + "\nPersistentKeepalive = 25\n";
  const auto peers = ReadAll(text, Format::kWgConf);
  ASSERT_TRUE(peers.ok()) << peers.status();
  ASSERT_EQ(peers->size(), 2u);
  EXPECT_EQ((*peers)[0].config.allowed_ips.size(), 3u);
  EXPECT_EQ((*peers)[0].device, "wg0");
  EXPECT_EQ((*peers)[1].config.persistent_keepalive_s, 25);
  EXPECT_TRUE((*peers)[1].config.preshared_key);
  const auto again =
      ReadAll(ToConfSection((*peers)[0]) + ToConfSection((*peers)[1]), Format::kWgConf);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ((*again)[0].config.allowed_ips, (*peers)[0].config.allowed_ips);
}

TEST(PeerTextTest, CommentsOfAConfFileAreKeptAsLabels) {
  using Labels = std::vector<std::pair<std::string, std::string>>;
  const std::string key = std::string("PublicKey = ") + kKey + "\n";
  const struct {
    std::string text;
    Labels labels;
  } cases[] = {
      {"[Peer]\n# friendly_name = Alice\n" + key, {{"friendly_name", "Alice"}}},
      {"[Peer]\n" + key + "#friendly_name=Alice\n", {{"friendly_name", "Alice"}}},
      {"[Peer]\n# Alice's laptop\n" + key + "# second\n", {{"comment", "Alice's laptop"}}},
      {"# Alice\n[Peer]\n" + key, {{"comment", "Alice"}}},
      {"[Peer]\n# J\xf6rg\n" + key, {{"comment", "J?rg"}}},
      {"[Peer]\n# " + std::string(254, 'a') + "\u00e9\n" + key,
       {{"comment", std::string(254, 'a')}}},
      {"# a file of ours\n\n[Interface]\n# ours\n\n[Peer]\n" + key, {}},
      {"[Peer]\n" + key + "AllowedIPs = 10.0.0.1 # home\n", {}},
      {"[Peer]\n" + key + "# Endpoint = 192.0.2.1:5\n", {}},
      {"[Peer]\n" + key + "#PresharedKey = " + kSecret + "\n# was " + kSecret + "\n", {}},
      {"[Peer]\n" + key + "# a = " + std::string(300, 'x'), {{"a", std::string(255, 'x')}}}};
  for (const auto& one : cases) {
    const auto peers = ReadAll(one.text, Format::kWgConf);
    ASSERT_TRUE(peers.ok()) << one.text << peers.status();
    ASSERT_EQ(peers->size(), 1u) << one.text;
    EXPECT_EQ((*peers)[0].labels, one.labels) << one.text;
    const auto again = ReadAll(ToConfSection((*peers)[0]), Format::kWgConf);
    ASSERT_TRUE(again.ok());
    EXPECT_EQ((*again)[0].labels, one.labels) << one.text;
  }
  const auto two =
      ReadAll("# A\n[Peer]\n" + key + "# B\n[Peer]\nPublicKey = " + kOther + "\n", Format::kWgConf);
  ASSERT_TRUE(two.ok());
  EXPECT_EQ((*two)[0].labels, (Labels{{"comment", "A"}}));
  EXPECT_EQ((*two)[1].labels, (Labels{{"comment", "B"}}));
}

TEST(PeerTextTest, ErrorsNameTheLineAndNeverASecret) {
  const std::string good = std::string("{\"public_key\":\"") + kKey + "\"}\n";
  struct Case {
    std::string text, expected;
  };
  for (const Case& c :
       {Case{good + "{", "line 2: not JSON"}, Case{good + "\n[]", "line 3: a peer: found an array"},
        Case{"{\"public_key\":\"x\"}", "line 1: public_key: found \"x\""},
        Case{"{}", "line 1: public_key is missing"},
        Case{"{\"public_kee\":1}", "unknown field \"public_kee\""},
        Case{std::string("{\"public_key\":\"") + kKey + "\",\"allowed_ips\":[\"10.0.0.0/33\"]}",
             "allowed_ips: found \"10.0.0.0/33\""},
        Case{std::string("{\"public_key\":\"") + kKey + "\",\"persistent_keepalive\":70000}",
             "0 to 65535"},
        Case{std::string("{\"public_key\":\"") + kKey + "\",\"preshared_key\":\"topsecret\"}",
             "9 characters (not shown)"}}) {
    const auto peers = ReadAll(c.text, Format::kNdjson);
    ASSERT_FALSE(peers.ok()) << c.text;
    EXPECT_NE(peers.status().message().find(c.expected), std::string::npos) << peers.status();
    EXPECT_EQ(peers.status().message().find("topsecret"), std::string::npos);
  }
  // A line that is not what it should be may hold a secret all the same.
  for (const std::string& text : {std::string("[Peer]\nPresharedKey ") + kSecret,
                                  std::string("PrivateKey = ") + kSecret, std::string(kSecret)}) {
    const auto peers = ReadAll(text, Format::kWgConf);
    ASSERT_FALSE(peers.ok()) << text;
    EXPECT_EQ(peers.status().message().find(std::string(kSecret).substr(0, 8)), std::string::npos)
        << peers.status();
  }
  EXPECT_EQ(ReadAll("[Peer]\nAllowedIPs = 10.0.0.1\n[Peer]\n", Format::kWgConf).status().message(),
            "line 1: [Peer] without a PublicKey");
  EXPECT_FALSE(ReadAll("[Peer]\nWhat = 1\n", Format::kWgConf).ok());
  EXPECT_FALSE(ReadAll("[Nothing]\n", Format::kWgConf).ok());
  EXPECT_FALSE(ReadAll("key,ips\na,b\n", Format::kWgConf).ok()) << "neither format";
  EXPECT_FALSE(ReadAll(good, Format::kNdjson, "").ok());
}

TEST(PeerReaderTest, TheFormatIsDetected) {
  const auto detected = [](const std::string& text) {
    std::istringstream input(text);
    PeerReader reader(&input, Format::kAuto, "wg0");
    store::Peer peer;
    reader.Next(&peer).IgnoreError();
    return reader.format();
  };
  EXPECT_EQ(detected(" \n {}"), Format::kNdjson);
  EXPECT_EQ(detected("\n[Interface]"), Format::kWgConf);
  EXPECT_EQ(detected("# x\n[Peer]"), Format::kWgConf);
  EXPECT_EQ(detected(""), Format::kNdjson);
}

TEST(PeerReaderTest, APeerOfAConfigurationIsWhereItsSectionBegins) {
  std::istringstream input(
      absl::StrCat("[Peer]\nPublicKey = ", ToBase64(PublicKey{{1}}),
                   "\n\n# next\n[Peer]\nPublicKey = ", ToBase64(PublicKey{{2}}), "\n\n"));
  PeerReader reader(&input, Format::kAuto, "wg0");
  store::Peer first, second;
  ASSERT_TRUE(*reader.Next(&first));
  EXPECT_EQ(reader.peer_line(), 1u);
  ASSERT_TRUE(*reader.Next(&second));
  EXPECT_EQ(reader.peer_line(), 5u);
}

TEST(PeerReaderTest, LinesAreCountedFromTheFirstThoughItMayBeBlank) {
  const std::string good = std::string("{\"public_key\":\"") + kKey + "\"}\n";
  std::istringstream input("\n \r\n\t" + good + "{");
  PeerReader reader(&input, Format::kAuto, "wg0");
  store::Peer peer;
  ASSERT_TRUE(reader.Next(&peer).ok());
  EXPECT_EQ(reader.line(), 3u);
  EXPECT_EQ(reader.bytes(), 5 + good.size());
  EXPECT_EQ(reader.Next(&peer).status().message().substr(0, 8), "line 4: ");
  EXPECT_EQ(ReadAll("\n\n[Peer]\n", Format::kAuto).status().message(),
            "line 3: [Peer] without a PublicKey");
}

TEST(PeerTextTest, ATimeToLiveIsTakenAndAnAllocationIsNot) {
  const std::string key = std::string("{\"public_key\":\"") + kKey + "\",";
  const auto request = ParsePeerRequest(key + "\"ttl\":5}", absl::FromUnixSeconds(100));
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->peer.expires, absl::FromUnixSeconds(105));
  EXPECT_TRUE(ParsePeerJson(key + "\"ttl\":5}").ok());
  EXPECT_EQ(FieldOf(ParsePeerJson(key + "\"allocate\":\"x\"}").status()), "allocate");
  EXPECT_EQ(FieldOf(ParsePeerJson("{}").status()), "public_key");
  EXPECT_EQ(FieldOf(ParsePeerRequest("{", absl::UnixEpoch()).status()), "") << "no JSON";
}

TEST(AnswerTextTest, WhatWasSentIsShownThoughItMayEndWithinACharacter) {
  for (const char* sent : {"plain", "d\xc3\xb6ner", "d\xc3", "\xed", "\xff\xfe", "\xe2\x82"}) {
    boost::json::error_code error;
    boost::json::parse(ToErrorJson("bad_request", sent, sent), error);
    EXPECT_FALSE(error) << testing::PrintToString(sent);
  }
}

TEST(StatusTextTest, RoundTrips) {
  Status status{.version = "1", .pid = 5, .store_path = "/x", .stored_peers = 7};
  status.nics.push_back({.name = "eth0", .xdp_mode = "native", .queues = 4});
  status.devices.push_back({.name = "wg0", .backend = "netlink", .counts = {{"installs", 3}}});
  status.verdicts["proven"] = 9;
  const auto back = ParseStatus(ToJson(status));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(ToJson(*back), ToJson(status));
  EXPECT_EQ(back->devices[0].counts.at("installs"), 3u);
  for (const char* bad : {"", "{}", "[]", "{\"pid\":\"x\"}"}) EXPECT_FALSE(ParseStatus(bad).ok());
}

}  // namespace
}  // namespace wicket::document
