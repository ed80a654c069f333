#include <gtest/gtest.h>

#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "gateway/config.h"
#include "gateway/installed_peers.h"
#include "gateway/request_queues.h"

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
cookies = "xdp"
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
  EXPECT_TRUE(config->nics[0].cookies_by_tx);
  EXPECT_EQ(config->devices[0].evict_after, absl::Seconds(200));
  EXPECT_EQ(config->devices[0].installed_max, 10u);
  EXPECT_EQ(config->pin_dir, "/sys/fs/bpf/wicket");
}

TEST(ConfigTest, ReportsEveryProblemWithFileLineFoundAndAccepted) {
  const auto config = ParseConfig(
      "log_level = \"loud\"\nwhat = 1\n[store]\npath = 5\nbytes_max = 3\n[[nic]]\nxdp = \"fast\"\n"
      "cookies = \"free\"\n"
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
        "x.toml:8: nic.cookies: found 'free'; accepted: \"ring\", \"xdp\"",
        "x.toml:11: nic.name: found eth0 a second time",
        "x.toml:15: device.evict_after: found 10; accepted: 180 to"}) {
    EXPECT_NE(message.find(expected), std::string::npos) << expected << "\nin\n" << message;
  }
}

TEST(ConfigTest, SyntaxErrorsAndEmptyFiles) {
  EXPECT_NE(ParseConfig("a = \n", "x.toml").status().message().find("x.toml:1"), std::string::npos);
  // Found by the fuzzer: what the parser takes for impossible.
  for (const char* bad : {"[.", "\xef\xbb\x9f", "\xc3\xa9 = 1"}) {
    const std::string message(ParseConfig(bad + std::string("\n") + kGood, "x").status().message());
    EXPECT_TRUE(message.starts_with("x:1: ") && message.ends_with("accepted: TOML"))
        << bad << ": " << message;
  }
  EXPECT_EQ(ParseConfig(absl::string_view("\n[[\0[", 5), "x").status().message().substr(0, 5),
            "x:2: ");
  const auto letters =
      ParseConfig(std::string("# f\xc3\xbcr\npin_dir = \"/run/T\xc3\xbcr\"\n") + kGood, "x");
  ASSERT_TRUE(letters.ok()) << letters.status();
  EXPECT_EQ(letters->pin_dir, "/run/T\xc3\xbcr");
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

TEST(RequestQueuesTest, EachComesInItsTurnHoweverSmallTheBatches) {
  shard::RequestQueue first(64), second(64), third(64);
  RequestQueues queues;
  EXPECT_EQ(queues.Next(), nullptr);
  for (shard::RequestQueue* queue : {&first, &second, &third}) queues.Add(queue);
  EXPECT_EQ(queues.Next(), nullptr);
  const auto fill = [](shard::RequestQueue* queue, size_t count) {
    for (size_t i = 0; i < count && queue->Reserve() != nullptr; ++i) queue->Submit();
  };
  fill(&first, 40);
  fill(&third, 10);
  EXPECT_EQ(queues.Waiting(), 50u);
  for (int i = 0; i < 20; ++i) {
    shard::RequestQueue* queue = queues.Next();
    ASSERT_NE(queue, nullptr);
    queue->Release();
    fill(&first, 1);  // a crowd that does not end
  }
  EXPECT_EQ(third.Size(), 0u);
  EXPECT_EQ(second.Size(), 0u);
  queues.Remove(&first);
  EXPECT_EQ(queues.Next(), nullptr);
}

TEST(RequestQueuesTest, TheOldestLeaveWhenTheyAreLate) {
  shard::RequestQueue first(8), second(8);
  RequestQueues queues;
  queues.Add(&first);
  queues.Add(&second);
  for (uint64_t seen_ns : {1, 2, 3, 4}) {
    for (shard::RequestQueue* queue : {&first, &second}) {
      queue->Reserve()->seen_ns = queue == &first ? seen_ns : 10 * seen_ns;
      queue->Submit();
    }
  }
  queues.DropLate([](const shard::InstallRequest& request) { return request.seen_ns <= 10; });
  EXPECT_EQ(first.Size(), 0u);
  ASSERT_EQ(second.Size(), 3u);
  EXPECT_EQ(second.Peek()->seen_ns, 20u);
}

class InstalledPeersTest : public ::testing::Test {
 protected:
  // One dump in which `stats` were seen, at `now`. Returns: the peers found missing.
  std::vector<PublicKey> Dump(std::vector<wgdev::PeerStats> stats, int now_s,
                              bool complete = true) {
    peers_.BeginDump();
    for (const auto& one : stats) peers_.Observe(one.public_key, one, absl::Seconds(now_s));
    return peers_.EndDump(complete);
  }
  void Add(uint8_t n, bool pinned = false, const store::Session& session = {}, int at_s = 100) {
    store::Peer stored;
    stored.config.public_key = Key(n);
    stored.pinned = pinned;
    peers_.Add(stored, session, *ParseAddress("192.0.2.1"), absl::Seconds(at_s));
  }
  std::vector<PublicKey> Leaving(int now_s, InstalledPeers::Press press = {}, size_t count = 100) {
    return peers_.BeginLeaving(absl::Seconds(now_s), count, press);
  }
  wgdev::PeerStats Stats(uint8_t n, int handshake_s = 0, uint64_t received = 0) {
    return {.public_key = Key(n),
            .endpoint = *ParseEndpoint("192.0.2.1:5"),
            .last_handshake = absl::FromUnixSeconds(handshake_s),
            .received_bytes = received};
  }
  using Keys = std::vector<PublicKey>;
  InstalledPeers peers_{absl::Seconds(300)};
};

TEST_F(InstalledPeersTest, ProbationEndsInTwoSteps) {
  Add(1);
  EXPECT_EQ(peers_.on_probation(), 1u);
  EXPECT_EQ(Leaving(130), Keys{});
  peers_.BeginDump();  // one that is under way proves nothing
  EXPECT_EQ(Leaving(131), Keys{Key(1)});
  EXPECT_EQ(Leaving(132), Keys{}) << "twice";
  peers_.Observe(Key(1), Stats(1), absl::Seconds(132));
  peers_.EndDump(true);
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{});
  Dump({Stats(1)}, 133, /*complete=*/false);
  Dump({Stats(1)}, 134);
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{Key(1)}) << "and once only";
  Dump({Stats(1)}, 135);
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{});
}

TEST_F(InstalledPeersTest, ProbationIsShorterInACrowd) {
  Add(1);
  EXPECT_EQ(Leaving(115, {.probation = true}), Keys{});
  EXPECT_EQ(Leaving(116, {.established = true}), Keys{});
  EXPECT_EQ(Leaving(116, {.probation = true}), Keys{Key(1)});
}

TEST_F(InstalledPeersTest, ThePinnedTakeNobodysPlaceOnProbation) {
  Add(1, /*pinned=*/true);
  Add(2);
  EXPECT_EQ(peers_.on_probation(), 1u);
  peers_.SetPinned(Key(1), false);
  EXPECT_EQ(peers_.on_probation(), 2u);
  peers_.SetPinned(Key(1), true);
  peers_.SetPinned(Key(2), true);
  EXPECT_EQ(peers_.on_probation(), 0u);
  Dump({Stats(1, 5000), Stats(2)}, 101);
  peers_.SetPinned(Key(1), false);
  EXPECT_EQ(peers_.on_probation(), 0u) << "it has confirmed";
  peers_.SetPinned(Key(2), false);
  EXPECT_EQ(peers_.on_probation(), 1u);
  peers_.Erase(Key(1));
  peers_.Erase(Key(2));
  EXPECT_EQ(peers_.on_probation(), 0u);
  EXPECT_EQ(peers_.on_probation_from(*ParseAddress("192.0.2.1")), 0u);
}

TEST_F(InstalledPeersTest, ProbationIsCountedBySource) {
  store::Peer stored;
  const auto add = [&](uint8_t n, const char* from) {
    stored.config.public_key = Key(n);
    peers_.Add(stored, {}, *ParseAddress(from), absl::Seconds(100));
  };
  add(1, "2001:db8::1");
  add(2, "2001:db8::ffff:2");
  add(3, "2001:db8:0:1::1");
  add(4, "192.0.2.4");
  EXPECT_EQ(peers_.on_probation_from(*ParseAddress("2001:db8::9")), 2u);
  EXPECT_EQ(peers_.on_probation_from(*ParseAddress("192.0.2.4")), 1u);
  EXPECT_EQ(peers_.on_probation_from(*ParseAddress("192.0.2.5")), 0u);
  Dump({Stats(1, 5000), Stats(2), Stats(3), Stats(4)}, 101);
  EXPECT_EQ(peers_.on_probation_from(*ParseAddress("2001:db8::9")), 1u) << "one has confirmed";
  peers_.Erase(Key(2));
  EXPECT_EQ(peers_.on_probation_from(*ParseAddress("2001:db8::9")), 0u);
  EXPECT_EQ(peers_.on_probation(), 2u);
}

TEST_F(InstalledPeersTest, TheEstablishedStayForEvictAfterAndComeBackIfTheySpeak) {
  Add(1);
  Dump({Stats(1, 5000)}, 101);
  EXPECT_TRUE(peers_.Find(Key(1))->confirmed);
  EXPECT_EQ(peers_.on_probation(), 0u);
  EXPECT_EQ(Leaving(401), Keys{});
  EXPECT_EQ(Leaving(402), Keys{Key(1)});
  Dump({Stats(1, 5290)}, 403);
  EXPECT_EQ(peers_.TakeReturned(), Keys{Key(1)});
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{});
  EXPECT_EQ(Leaving(703), Keys{});
  EXPECT_EQ(Leaving(704), Keys{Key(1)});
  peers_.Touch(Key(1), absl::Seconds(705));
  Dump({Stats(1, 5290)}, 706);
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{}) << "it initiated through us";
}

TEST_F(InstalledPeersTest, UnderPressureDeadSessionsGoOldestFirstAndLiveOnesNever) {
  for (uint8_t n = 1; n <= 5; ++n) {
    Add(n, false, {}, 100 + n);
    Dump({Stats(n, 5000 + n)}, 100 + n);
  }
  EXPECT_EQ(Leaving(283), Keys{}) << "evict_after is 300";
  EXPECT_EQ(Leaving(284, {.established = true}, 2), (Keys{Key(1), Key(2)}));
  EXPECT_EQ(Leaving(284, {.established = true}), (Keys{Key(3)}));
}

TEST_F(InstalledPeersTest, AJumpOfTheWallClockEvictsNobody) {
  Add(1);
  Dump({Stats(1, 1'800'000'000)}, 101);
  Dump({Stats(1, 1'000'000'000)}, 102);
  EXPECT_EQ(Leaving(103), Keys{});
}

TEST_F(InstalledPeersTest, PinnedPeersStay) {
  Add(1, true);
  EXPECT_EQ(Leaving(10'000), Keys{});
  peers_.SetPinned(Key(1), false);
  EXPECT_EQ(Leaving(10'000), Keys{Key(1)});
}

TEST_F(InstalledPeersTest, TheRevokedGoAtOnce) {
  Add(1);
  Dump({Stats(1, 5000)}, 101);
  peers_.Revoke(Key(1));
  peers_.Revoke(Key(1));
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{Key(1)});
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{});
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
  EXPECT_EQ(Dump({}, 101), Keys{});
  EXPECT_EQ(Dump({}, 102, false), Keys{});
  EXPECT_EQ(Dump({}, 103), Keys{Key(1)});
}

TEST_F(InstalledPeersTest, CountersAreTotalsAndSavedOnce) {
  store::Session session;
  session.received_bytes = 1000;
  Add(1, false, session);
  Dump({Stats(1, 7, 50)}, 101);
  auto dirty = peers_.TakeDirty();
  ASSERT_EQ(dirty.size(), 1u);
  EXPECT_EQ(dirty[0].second.received_bytes, 1050u);
  EXPECT_EQ(dirty[0].second.handshakes, 1u);
  EXPECT_EQ(ToString(dirty[0].second.endpoint), "192.0.2.1:5");
  EXPECT_TRUE(peers_.TakeDirty().empty());
}

// The index against a scan: random lives of 200 peers.
TEST_F(InstalledPeersTest, TheIndexAgreesWithAScan) {
  std::mt19937 random(1);
  int handshake_s = 1000;
  for (int now_s = 100; now_s < 3000; ++now_s) {
    for (int i = 0; i < 3; ++i) {
      const auto n = static_cast<uint8_t>(random() % 200);
      switch (random() % 5) {
        case 0:
          if (peers_.Find(Key(n)) == nullptr) Add(n, random() % 10 == 0, {}, now_s);
          break;
        case 1:
          peers_.Touch(Key(n), absl::Seconds(now_s));
          break;
        case 2:
        case 3:
          Dump({Stats(n, ++handshake_s)}, now_s, false);
          break;
        case 4:
          if (random() % 20 == 0) peers_.Erase(Key(n));
          break;
      }
    }
    std::set<PublicKey> expected;
    for (const PublicKey& key : peers_.List({}, SIZE_MAX)) {
      const InstalledPeer& peer = *peers_.Find(key);
      const auto lifetime = peer.confirmed ? absl::Seconds(300) : kProbation;
      if (!peer.pinned && !peer.leaving && absl::Seconds(now_s) - peer.sign_of_life() > lifetime) {
        expected.insert(key);
      }
    }
    const Keys leaving = Leaving(now_s, {}, 1000);
    ASSERT_EQ(std::set<PublicKey>(leaving.begin(), leaving.end()), expected) << now_s;
    size_t on_probation = 0;
    for (const PublicKey& key : peers_.List({}, SIZE_MAX)) {
      on_probation += !peers_.Find(key)->confirmed && !peers_.Find(key)->pinned;
    }
    ASSERT_EQ(peers_.on_probation(), on_probation);
  }
}

}  // namespace
}  // namespace wicket::gateway
