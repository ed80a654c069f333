#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "gateway/config.h"
#include "gateway/installed_peers.h"

namespace wicket::gateway {
namespace {

constexpr char kGood[] = R"(
log_level = "debug"
reinject = "raw"
[store]
path = "/tmp/x"
[[nic]]
name = "eth0"
xdp = "generic"
[[device]]
name = "wg0"
backend = "uapi"
evict_after = 200
installed_max = 10
)";

TEST(ConfigTest, ReadsAWholeFile) {
  const auto config = ParseConfig(kGood, "x.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->reinject, ReinjectMode::kRaw);
  EXPECT_EQ(config->store.path, "/tmp/x");
  EXPECT_EQ(config->nics[0].xdp, xsk::XdpMode::kGeneric);
  EXPECT_EQ(config->devices[0].evict_after, absl::Seconds(200));
  EXPECT_EQ(config->devices[0].installed_max, 10u);
  EXPECT_EQ(config->pin_dir, "/sys/fs/bpf/wicket");
}

TEST(ConfigTest, ReportsEveryProblemWithFileLineFoundAndAccepted) {
  const auto config = ParseConfig(
      "log_level = \"loud\"\nwhat = 1\n[store]\npath = 5\nbytes_max = 3\n[[nic]]\nxdp = \"fast\"\n"
      "[[nic]]\nname = \"eth0\"\n[[nic]]\nname = \"eth0\"\n[[device]]\nname = \"wg0\"\n"
      "evict_after = 10\n",
      "x.toml");
  ASSERT_FALSE(config.ok());
  const std::string message(config.status().message());
  for (const char* expected :
       {"x.toml:1: log_level: found 'loud'; accepted: \"error\", \"warning\"",
        "x.toml:2: what: found an unknown key; accepted: ",
        "x.toml:4: store.path: found 5; accepted: a string",
        "x.toml:5: store.bytes_max: found 3; accepted: 1048576 to",
        "x.toml:6: nic.name: found nothing; accepted: an interface's name",
        "x.toml:7: nic.xdp: found 'fast'; accepted: \"auto\", \"native\", \"generic\"",
        "x.toml:10: nic.name: found eth0 a second time",
        "x.toml:14: device.evict_after: found 10; accepted: 180 to"}) {
    EXPECT_NE(message.find(expected), std::string::npos) << expected << "\nin\n" << message;
  }
}

TEST(ConfigTest, SyntaxErrorsAndEmptyFiles) {
  EXPECT_NE(ParseConfig("a = \n", "x.toml").status().message().find("x.toml:1"), std::string::npos);
  // Found by the fuzzer: the parser asserts on them.
  EXPECT_FALSE(ParseConfig("[.", "x").ok());
  EXPECT_FALSE(ParseConfig("\xef\xbb\x9f", "x").ok());
  EXPECT_TRUE(ParseConfig(std::string("# f\xc3\xbcr\n") + kGood, "x").ok());
  EXPECT_FALSE(ParseConfig(std::string("log_level = \"d\xc3\xbc\" # x\n") + kGood, "x").ok());
  EXPECT_EQ(ParseConfig(absl::string_view("\n[[\0[", 5), "x").status().message(),
            "x:2: found the byte 0; accepted: ASCII, and UTF-8 in comments");
  const std::string empty(ParseConfig("", "x.toml").status().message());
  EXPECT_NE(empty.find("[[nic]]"), std::string::npos);
  EXPECT_NE(empty.find("[[device]]"), std::string::npos);
  EXPECT_FALSE(ParseConfig("nic = 5\ndevice = [1]\nstore = 1\n", "x").ok());
  EXPECT_FALSE(LoadConfig("/tmp").ok()) << "a folder";
  EXPECT_FALSE(LoadConfig("/nonexistent/wicket.toml").ok());
}

PublicKey Key(uint8_t n) {
  PublicKey key;
  key.bytes[0] = n;
  return key;
}

class InstalledPeersTest : public ::testing::Test {
 protected:
  // One dump in which `stats` were seen, at `now`.
  InstalledPeers::Changes Dump(std::vector<wgdev::PeerStats> stats, int now_s,
                               bool complete = true) {
    peers_.BeginDump();
    for (const auto& one : stats) {
      if (InstalledPeer* peer = peers_.Find(one.public_key)) {
        peers_.Observe(peer, one, absl::Seconds(now_s));
      }
    }
    return peers_.EndDump(absl::Seconds(now_s), absl::FromUnixSeconds(now_s), complete);
  }
  void Add(uint8_t n, bool pinned = false, const store::Session& session = {}) {
    store::Peer stored;
    stored.config.public_key = Key(n);
    stored.pinned = pinned;
    stored.expires = absl::FromUnixSeconds(50'000);
    peers_.Add(stored, session, absl::Seconds(100));
  }
  wgdev::PeerStats Stats(uint8_t n, int handshake_s = 0, uint64_t received = 0) {
    return {.public_key = Key(n),
            .endpoint = *ParseEndpoint("192.0.2.1:5"),
            .last_handshake = absl::FromUnixSeconds(handshake_s),
            .received_bytes = received};
  }
  InstalledPeers peers_{absl::Seconds(180)};
};

TEST_F(InstalledPeersTest, AnUnconfirmedPeerLeavesAfterFifteenSecondsInTwoSteps) {
  Add(1);
  EXPECT_TRUE(Dump({Stats(1)}, 114).leaving.empty());
  EXPECT_EQ(Dump({Stats(1)}, 116).leaving.size(), 1u);
  EXPECT_EQ(Dump({Stats(1)}, 117).remove.size(), 1u);
}

TEST_F(InstalledPeersTest, AConfirmedPeerStaysForItsSessionAndComesBackIfItSpeaks) {
  Add(1);
  EXPECT_TRUE(Dump({Stats(1, 5000)}, 101).leaving.empty());
  EXPECT_TRUE(peers_.Find(Key(1))->confirmed);
  EXPECT_TRUE(Dump({Stats(1, 5000)}, 280).leaving.empty());
  EXPECT_EQ(Dump({Stats(1, 5000)}, 282).leaving.size(), 1u);
  EXPECT_EQ(Dump({Stats(1, 5182)}, 283).staying.size(), 1u);
  EXPECT_TRUE(Dump({Stats(1, 5182)}, 284).leaving.empty());
}

TEST_F(InstalledPeersTest, AJumpOfTheWallClockEvictsNobody) {
  Add(1);
  Dump({Stats(1, 1'800'000'000)}, 101);
  const auto changes = Dump({Stats(1, 1'000'000'000)}, 102);
  EXPECT_TRUE(changes.leaving.empty() && changes.remove.empty());
}

TEST_F(InstalledPeersTest, PinnedPeersStay) {
  Add(1, true);
  EXPECT_TRUE(Dump({Stats(1)}, 10'000).leaving.empty());
}

TEST_F(InstalledPeersTest, ExpiredPeersGoEvenWithALiveSession) {
  Add(1);
  EXPECT_TRUE(Dump({Stats(1, 49'990)}, 49'999).leaving.empty());
  EXPECT_EQ(Dump({Stats(1, 49'995)}, 50'000).leaving.size(), 1u);
  EXPECT_EQ(Dump({Stats(1, 50'001)}, 50'001).remove.size(), 1u);
}

TEST_F(InstalledPeersTest, CountersGoOnWhenTheDeviceStartsAnew) {
  Add(1);
  Dump({Stats(1, 0, 500)}, 101);
  Dump({Stats(1, 0, 20)}, 102);
  Dump({Stats(1, 0, 30)}, 103);
  EXPECT_EQ(peers_.Find(Key(1))->session.received_bytes, 530u);
}

TEST_F(InstalledPeersTest, OnlyTwoCompleteDumpsProveAbsence) {
  Add(1);
  EXPECT_TRUE(Dump({}, 101).missing.empty());
  EXPECT_TRUE(Dump({}, 102, false).missing.empty());
  EXPECT_EQ(Dump({}, 103).missing.size(), 1u);
}

TEST_F(InstalledPeersTest, CountersAreTotalsAndSavedOnce) {
  store::Session session;
  session.received_bytes = 1000;
  Add(1, false, session);
  Dump({Stats(1, 0, 50)}, 101);
  auto dirty = peers_.TakeDirty();
  ASSERT_EQ(dirty.size(), 1u);
  EXPECT_EQ(dirty[0].second.received_bytes, 1050u);
  EXPECT_EQ(ToString(dirty[0].second.endpoint), "192.0.2.1:5");
  EXPECT_TRUE(peers_.TakeDirty().empty());
}

}  // namespace
}  // namespace wicket::gateway
