#include <gtest/gtest.h>
#include <sys/socket.h>

#include <algorithm>
#include <set>
#include <thread>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "control/api.h"
#include "control/bulk.h"
#include "control/listing.h"
#include "http/server.h"
#include "http/transport.h"
#include "roster/roster_fixture.h"

namespace wicket::control {
namespace {

using store::Key;

struct Answer {
  int status = 0;
  std::string text;  // with the lengths of its chunks, where it is a stream
};

std::string Segment(const PublicKey& key) {
  return absl::WebSafeBase64Escape(
      absl::string_view(reinterpret_cast<const char*>(key.bytes.data()), key.bytes.size()));
}

std::string ReadAll(const Fd& fd) {
  std::string text;
  char bytes[64 << 10];
  for (ssize_t n; (n = recv(fd.get(), bytes, sizeof(bytes), 0)) > 0;) {
    text.append(bytes, static_cast<size_t>(n));
  }
  return text;
}

// Each request on a connection of its own, a pair of sockets.
class ControlTest : public roster::RosterTest {
 protected:
  void SetUp() override {
    RosterTest::SetUp();
    MakeApi({});
  }
  void MakeApi(Reload reload) {
    api_ = std::make_unique<Api>(Sources{.roster = roster_.get(),
                                         .devices = &devices_,
                                         .store = store_.get(),
                                         .events = &events_,
                                         .reload = std::move(reload)});
  }

  Answer Ask(const std::string& method, const std::string& target, const std::string& body = "",
             http::Role role = http::Role::kWrite) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return {};
    const Fd client(ends[1]);
    const std::atomic<bool> stopping{false};
    std::thread server([&, fd = ends[0]] {
      http::Transport transport{Fd(fd)};
      http::ServeConnection(
          transport, [this](http::Exchange& exchange) { api_->Handle(exchange); }, stopping,
          [role](const http::Exchange&) { return role; });
    });
    const std::string request =
        absl::StrCat(method, " ", target, " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n",
                     "Content-Length: ", body.size(), "\r\n\r\n", body);
    for (size_t sent = 0; sent < request.size();) {
      const ssize_t n =
          send(client.get(), request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<size_t>(n);
    }
    const std::string text = ReadAll(client);
    server.join();
    Answer answer;
    if (text.size() > 12) std::ignore = absl::SimpleAtoi(text.substr(9, 3), &answer.status);
    if (const size_t end = text.find("\r\n\r\n"); end != text.npos)
      answer.text = text.substr(end + 4);
    return answer;
  }

  void PutMany(uint64_t count) {
    std::vector<document::PeerRequest> requests;
    for (uint64_t n = 1; n <= count; ++n) requests.push_back(Request(n));
    ASSERT_TRUE(roster_->PutAll(requests).failed.ok());
  }

  // What follows `name":"` in a document, each time.
  static std::vector<std::string> All(const std::string& text, const std::string& name) {
    std::vector<std::string> values;
    const std::string before = absl::StrCat("\"", name, "\":\"");
    for (size_t at = 0; (at = text.find(before, at)) != text.npos;) {
      at += before.size();
      values.push_back(text.substr(at, text.find('"', at) - at));
    }
    return values;
  }

  // The keys of all pages, which must come once each.
  std::set<std::string> ListAll(const std::string& query, int* pages) {
    std::set<std::string> keys;
    std::string cursor;
    *pages = 0;
    do {
      const Answer answer = Ask(
          "GET", "/v1/devices/wg0/peers?" + query + (cursor.empty() ? "" : "&cursor=" + cursor));
      EXPECT_EQ(answer.status, 200) << answer.text;
      for (const std::string& key : All(answer.text, "public_key")) {
        EXPECT_TRUE(keys.insert(key).second) << key << " came twice";
      }
      const auto next = All(answer.text, "next_cursor");
      cursor = next.empty() ? "" : next[0];
      ++*pages;
    } while (!cursor.empty() && *pages < 1000);
    return keys;
  }

  std::unique_ptr<Api> api_;
};

// --- one peer ---------------------------------------------------------------

TEST_F(ControlTest, CreatesReadsAndDeletesAPeer) {
  const std::string path = "/v1/devices/wg0/peers/" + Segment(Key(1));
  const Answer created = Ask("PUT", path, R"({"allowed_ips":["10.1.0.1/32"]})");
  EXPECT_EQ(created.status, 201) << created.text;
  EXPECT_EQ(All(created.text, "state"), std::vector<std::string>{"stored"});
  EXPECT_EQ(devices_.finds, 0) << "a new peer is in no device";
  EXPECT_EQ(Ask("PUT", path, R"({"allowed_ips":["10.1.0.2/32"]})").status, 200);
  devices_.installed.insert(Key(1));
  EXPECT_EQ(All(Ask("GET", path).text, "state"), std::vector<std::string>{"established"});
  EXPECT_EQ(Ask("GET", "/v1/devices/wg0/addresses/10.1.0.2").status, 200);
  EXPECT_EQ(Ask("POST", path + "/reset-replay").status, 204);
  EXPECT_EQ(Ask("DELETE", path).status, 204);
  EXPECT_EQ(Ask("DELETE", path).status, 404);
  EXPECT_EQ(Ask("GET", path).status, 404);
  EXPECT_EQ(Ask("GET", "/v1/devices/wg1/peers").status, 404);
  EXPECT_EQ(Ask("POST", path).status, 405);
}

TEST_F(ControlTest, ADeviceThatDoesNotAnswerHoldsUpChangesAndNoReports) {
  const std::string path = "/v1/devices/wg0/peers/" + Segment(Key(1));
  EXPECT_EQ(Ask("PUT", path).status, 201);
  devices_.answer = absl::UnavailableError("wg0 is busy");
  const Answer put = Ask("PUT", path, R"({"pinned":true})");
  EXPECT_EQ(put.status, 503);
  EXPECT_TRUE(absl::StrContains(put.text, "stored, but the device was not updated: wg0 is busy"))
      << put.text;
  EXPECT_EQ(All(Ask("GET", path).text, "state"), std::vector<std::string>{"not reached"});
  const Answer deleted = Ask("DELETE", path);
  EXPECT_EQ(deleted.status, 503);
  EXPECT_TRUE(absl::StrContains(deleted.text, "deleted, but the device still has it"))
      << deleted.text;
}

TEST_F(ControlTest, APeerThatHasLeftHasTheSessionThatIsNotSavedYet) {
  PutMany(2);
  devices_.unsaved = {Key(1)};
  const std::string text = Ask("GET", "/v1/devices/wg0/peers/" + Segment(Key(1))).text;
  EXPECT_EQ(All(text, "state"), std::vector<std::string>{"stored"});
  EXPECT_TRUE(absl::StrContains(text, "\"installs\":7")) << text;
  EXPECT_EQ(All(Ask("GET", "/v1/devices/wg0/peers?installed=false").text, "state").size(), 2u);
  EXPECT_EQ(All(Ask("GET", "/v1/devices/wg0/peers?installed=true").text, "state").size(), 0u);
}

TEST_F(ControlTest, TheDevicesOwnKeyIsRefused) {
  const Answer put = Ask("PUT", "/v1/devices/wg0/peers/" + Segment(Key(0)));
  EXPECT_EQ(put.status, 400);
  EXPECT_EQ(All(put.text, "field"), std::vector<std::string>{"public_key"});
}

TEST_F(ControlTest, AReaderMayNotWrite) {
  const auto reader = http::Role::kRead;
  EXPECT_EQ(Ask("PUT", "/v1/devices/wg0/peers/" + Segment(Key(1)), "", reader).status, 403);
  EXPECT_EQ(Ask("POST", "/v1/reload", "", reader).status, 403);
  EXPECT_EQ(Ask("GET", "/v1/devices/wg0/export", "", reader).status, 403);
  EXPECT_EQ(Ask("GET", "/v1/devices/wg0/peers", "", reader).status, 200);
  EXPECT_EQ(Ask("GET", "/v1/status", "", http::Role::kNone).status, 401);
}

// --- reload -----------------------------------------------------------------

TEST_F(ControlTest, AReloadTellsItsOutcome) {
  const Answer none = Ask("POST", "/v1/reload");
  EXPECT_EQ(none.status, 501);
  EXPECT_EQ(All(none.text, "code"), std::vector<std::string>{"not_implemented"});

  MakeApi([] { return std::vector<std::string>{"nic", "store.path"}; });
  const Answer done = Ask("POST", "/v1/reload");
  EXPECT_EQ(done.status, 200);
  EXPECT_EQ(done.text, "{\"needs_restart\":[\"nic\",\"store.path\"]}\n");

  MakeApi([] { return absl::InvalidArgumentError("wicket.toml:3: unknown key \"nix\""); });
  const Answer bad = Ask("POST", "/v1/reload");
  EXPECT_EQ(bad.status, 422);
  EXPECT_EQ(All(bad.text, "code"), std::vector<std::string>{"invalid_configuration"});
  EXPECT_TRUE(absl::StrContains(bad.text, R"(wicket.toml:3: unknown key \"nix\")")) << bad.text;
  EXPECT_EQ(Ask("GET", "/v1/reload").status, 405);
}

// --- lists ------------------------------------------------------------------

TEST_F(ControlTest, AFullPageAsksTheDeviceOnce) {
  PutMany(2000);
  for (uint64_t n = 1; n <= 2000; n += 2) devices_.installed.insert(Key(n));
  const Answer page = Ask("GET", "/v1/devices/wg0/peers?limit=1000");
  EXPECT_EQ(All(page.text, "state").size(), 1000u);
  EXPECT_EQ(devices_.finds, 1);
  devices_.finds = 0;
  EXPECT_EQ(All(Ask("GET", "/v1/devices/wg0/peers?limit=1000&installed=true").text, "state"),
            std::vector<std::string>(1000, "established"));
  EXPECT_EQ(devices_.finds, 1);
}

TEST_F(ControlTest, PagesOfWhatIsNotInstalledAskOfSetsAndMissNobody) {
  constexpr uint64_t kPeers = 3000;
  PutMany(kPeers);
  std::set<std::string> expected;
  for (uint64_t n = 1; n <= kPeers; ++n) {
    if (n % 3 == 0) {
      expected.insert(ToBase64(Key(n)));
    } else {
      devices_.installed.insert(Key(n));
    }
  }
  for (const int limit : {1000, 100, 7}) {
    devices_.finds = 0;
    int pages;
    EXPECT_EQ(ListAll(absl::StrCat("installed=false&limit=", limit), &pages), expected) << limit;
    EXPECT_LE(devices_.finds, 3 * pages) << "of " << pages << " pages";
  }
}

TEST_F(ControlTest, APageThatFindsNobodyIsBoundedAndGoesOn) {
  PutMany(3000);
  for (uint64_t n = 1; n <= 3000; ++n) devices_.installed.insert(Key(n));
  devices_.installed.erase(Key(77));
  int pages;
  EXPECT_EQ(ListAll("installed=false&limit=1", &pages), std::set<std::string>{ToBase64(Key(77))});
  EXPECT_LE(devices_.finds, 14 * pages);
}

TEST_F(ControlTest, WhatIsInstalledIsUnavailableWhenTheDeviceDoesNotAnswer) {
  PutMany(10);
  devices_.answer = absl::UnavailableError("wg0 is busy");
  EXPECT_EQ(Ask("GET", "/v1/devices/wg0/peers?installed=true").status, 503);
  EXPECT_EQ(Ask("GET", "/v1/devices/wg0/peers?installed=false").status, 503);
  const Answer plain = Ask("GET", "/v1/devices/wg0/peers");
  EXPECT_EQ(plain.status, 200);
  EXPECT_EQ(All(plain.text, "state"), std::vector<std::string>(10, "not reached"));
}

TEST_F(ControlTest, AListNamesTheParameterThatIsWrong) {
  for (const char* query : {"limit=0", "limit=1001", "label=x", "prefix=y", "installed=maybe",
                            "expired=1", "cursor=%25", "page=2"}) {
    const Answer answer = Ask("GET", absl::StrCat("/v1/devices/wg0/peers?", query));
    EXPECT_EQ(answer.status, 400) << query;
    const std::string name(query, absl::string_view(query).find('='));
    EXPECT_EQ(All(answer.text, "field"), std::vector<std::string>{name});
  }
}

// --- in bulk ----------------------------------------------------------------

std::string LineOf(uint64_t n, absl::string_view more) {
  return absl::StrCat("{\"public_key\":\"", ToBase64(Key(n)), "\"", more, "}\n");
}

TEST_F(ControlTest, AnImportReportsEveryRefusedLine) {
  std::string body;
  for (uint64_t n = 1; n <= 1200; ++n) {
    if (n == 600) absl::StrAppend(&body, "\n{\"allowed_ips\":[]}\n", LineOf(0, ""));
    absl::StrAppend(&body, LineOf(n, n == 700 ? ",\"device\":\"wg9\"" : ""));
  }
  const Answer answer = Ask("POST", "/v1/devices/wg0/import", body);
  EXPECT_EQ(answer.status, 200) << answer.text;
  EXPECT_TRUE(absl::StrContains(answer.text, "{\"imported\":1199,\"refused\":3}")) << answer.text;
  for (const char* line : {"\"line\":601}", "\"line\":602}", "\"line\":703}"}) {
    EXPECT_TRUE(absl::StrContains(answer.text, line)) << line << " in " << answer.text;
  }
  EXPECT_EQ(stored_peers(), 1199u);

  // The same once more changes nothing, so no device is told.
  devices_.questions = 0;
  EXPECT_TRUE(absl::StrContains(Ask("POST", "/v1/devices/wg0/import", body).text,
                                "{\"imported\":1199,\"refused\":3}"));
  EXPECT_EQ(devices_.questions, 0);
  const Answer exported = Ask("GET", "/v1/devices/wg0/export");
  EXPECT_EQ(All(exported.text, "public_key").size(), 1199u);
}

TEST_F(ControlTest, AnImportedPeerWhoseDeviceWasNotUpdatedIsBoth) {
  ASSERT_TRUE(roster_->Put(Request(1)).ok());
  devices_.answer = absl::UnavailableError("wg0 is busy");
  const Answer answer = Ask("POST", "/v1/devices/wg0/import", LineOf(1, ",\"pinned\":true"));
  EXPECT_TRUE(absl::StrContains(answer.text, "{\"imported\":1,\"refused\":1}")) << answer.text;
  EXPECT_TRUE(absl::StrContains(answer.text, "the device was not updated")) << answer.text;
}

// Lines of some 20 KB each, which are refused, between two that are told to the device.
TEST_F(ControlTest, AnImportHoldsABoundedNumberOfBytes) {
  ASSERT_TRUE(roster_->Put(Request(1)).ok());
  ASSERT_TRUE(roster_->Put(Request(2)).ok());
  std::vector<std::string> labels;
  for (size_t i = 0; i < store::kLabelsMax + 1; ++i) {
    labels.push_back(absl::StrCat("\"label", i, "\":\"", std::string(250, 'x'), "\""));
  }
  const std::string many = absl::StrCat(",\"labels\":{", absl::StrJoin(labels, ","), "}");
  std::string body = LineOf(1, ",\"pinned\":true");
  for (uint64_t n = 100; n < 400; ++n) absl::StrAppend(&body, LineOf(n, many));
  absl::StrAppend(&body, LineOf(2, ",\"pinned\":true"));
  const Answer answer = Ask("POST", "/v1/devices/wg0/import", body);
  EXPECT_TRUE(absl::StrContains(answer.text, "{\"imported\":2,\"refused\":300}"))
      << answer.text.substr(0, 300);
  EXPECT_EQ(devices_.questions, 2) << "one: all lines were held at once";
}

TEST_F(ControlTest, AnImportThatIsCutOffSaysHowFarItCame) {
  // Lines of a stream that breaks within a chunk.
  std::string body;
  for (uint64_t n = 1; n <= 600; ++n) absl::StrAppend(&body, LineOf(n, ""));
  int ends[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
  const Fd client(ends[1]);
  const std::string request = absl::StrCat("POST /v1/devices/wg0/import HTTP/1.1\r\nHost: x\r\n",
                                           "Content-Length: ", body.size() + 10, "\r\n\r\n", body);
  std::thread server([&, fd = ends[0]] {
    const std::atomic<bool> stopping{false};
    http::Transport transport{Fd(fd)};
    http::ServeConnection(
        transport, [this](http::Exchange& exchange) { api_->Handle(exchange); }, stopping,
        [](const http::Exchange&) { return http::Role::kWrite; });
  });
  ASSERT_EQ(send(client.get(), request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  shutdown(client.get(), SHUT_WR);
  const std::string text = ReadAll(client);
  server.join();
  EXPECT_TRUE(absl::StrContains(text, "HTTP/1.1 503")) << text;
  EXPECT_TRUE(absl::StrContains(text, "after 600 imported peers and 600 lines")) << text;
}

}  // namespace
}  // namespace wicket::control
