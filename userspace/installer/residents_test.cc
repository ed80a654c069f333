#include <gtest/gtest.h>

#include <random>
#include <set>

#include "base/clock_fixture.h"
#include "guard/replay.h"
#include "installer/residents.h"

namespace wicket::installer {
namespace {

PublicKey Key(uint8_t n) {
  PublicKey key;
  key.bytes[0] = n;
  return key;
}

class ResidentsTest : public ::testing::Test {
 protected:
  // Runs one dump at `now` that shows `stats`. Returns: the peers found missing.
  std::vector<PublicKey> Dump(std::vector<wgdev::PeerStats> stats, int now_s,
                              bool complete = true) {
    peers_.BeginDump();
    for (const auto& one : stats)
      peers_.Observe(one.public_key, one, absl::Seconds(now_s), At(absl::FromUnixSeconds(now_s)));
    return peers_.EndDump(complete);
  }
  void Add(uint8_t n, bool pinned = false, const store::Session& session = {}, int at_s = 100) {
    store::Peer stored;
    stored.config.public_key = Key(n);
    stored.pinned = pinned;
    peers_.Add(stored, session, *ParseAddress("192.0.2.1"), absl::Seconds(at_s));
  }
  std::vector<PublicKey> Leaving(int now_s, Residents::Press press = {}, size_t count = 100) {
    return peers_.BeginLeaving(absl::Seconds(now_s), count, press);
  }
  wgdev::PeerStats Stats(uint8_t n, int handshake_s = 0, uint64_t received = 0) {
    return {.public_key = Key(n),
            .endpoint = *ParseEndpoint("192.0.2.1:5"),
            .last_handshake = absl::FromUnixSeconds(handshake_s),
            .received_bytes = received};
  }
  using Keys = std::vector<PublicKey>;
  Residents peers_{absl::Seconds(300)};
};

TEST_F(ResidentsTest, ProbationEndsInTwoSteps) {
  Add(1);
  EXPECT_EQ(peers_.on_probation(), 1u);
  EXPECT_EQ(Leaving(130), Keys{});
  peers_.BeginDump();  // a dump in progress proves nothing
  EXPECT_EQ(Leaving(131), Keys{Key(1)});
  EXPECT_EQ(Leaving(132), Keys{}) << "twice";
  peers_.Observe(Key(1), Stats(1), absl::Seconds(132), At(absl::FromUnixSeconds(132)));
  peers_.EndDump(true);
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{});
  Dump({Stats(1)}, 133, /*complete=*/false);
  Dump({Stats(1)}, 134);
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{Key(1)}) << "and once only";
  Dump({Stats(1)}, 135);
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{});
}

TEST_F(ResidentsTest, ProbationIsShorterInACrowd) {
  Add(1);
  EXPECT_EQ(Leaving(115, {.probation = true}), Keys{});
  EXPECT_EQ(Leaving(116, {.established = true}), Keys{});
  EXPECT_EQ(Leaving(116, {.probation = true}), Keys{Key(1)});
}

TEST_F(ResidentsTest, ThePinnedTakeNobodysPlaceOnProbation) {
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

TEST_F(ResidentsTest, ProbationIsCountedBySource) {
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

TEST_F(ResidentsTest, TheEstablishedStayForEvictAfterAndComeBackIfTheySpeak) {
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

TEST_F(ResidentsTest, UnderPressureDeadSessionsGoOldestFirstAndLiveOnesNever) {
  for (uint8_t n = 1; n <= 5; ++n) {
    Add(n, false, {}, 100 + n);
    Dump({Stats(n, 5000 + n)}, 100 + n);
  }
  EXPECT_EQ(Leaving(283), Keys{}) << "evict_after is 300";
  EXPECT_EQ(Leaving(284, {.established = true}, 2), (Keys{Key(1), Key(2)}));
  EXPECT_EQ(Leaving(284, {.established = true}), (Keys{Key(3)}));
}

TEST_F(ResidentsTest, AJumpOfTheWallClockEvictsNobody) {
  Add(1);
  Dump({Stats(1, 1'800'000'000)}, 101);
  Dump({Stats(1, 1'000'000'000)}, 102);
  EXPECT_EQ(Leaving(103), Keys{});
}

TEST_F(ResidentsTest, PinnedPeersStay) {
  Add(1, true);
  EXPECT_EQ(Leaving(10'000), Keys{});
  peers_.SetPinned(Key(1), false);
  EXPECT_EQ(Leaving(10'000), Keys{Key(1)});
  peers_.SetPinned(Key(1), true);
  EXPECT_FALSE(peers_.Find(Key(1))->leaving) << "it was pinned while it was leaving";
}

TEST_F(ResidentsTest, TheRevokedGoAtOnce) {
  Add(1);
  Dump({Stats(1, 5000)}, 101);
  peers_.Revoke(Key(1));
  peers_.Revoke(Key(1));
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{Key(1)});
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{});
}

TEST_F(ResidentsTest, OneThatIsDeletedOnItsWayOutIsRevoked) {
  Add(1);
  Dump({}, 101);
  ASSERT_EQ(Leaving(200), Keys{Key(1)});
  Dump({Stats(1)}, 201);
  Dump({Stats(1)}, 202);
  ASSERT_EQ(peers_.TakeRemovable(10), Keys{Key(1)});
  peers_.Revoke(Key(1));
  EXPECT_TRUE(peers_.Find(Key(1))->revoked);
  EXPECT_EQ(peers_.TakeRemovable(10), Keys{}) << "it was taken already";
}

TEST_F(ResidentsTest, CountersGoOnWhenTheDeviceStartsAnew) {
  Add(1);
  Dump({Stats(1, 0, 500)}, 101);
  Dump({Stats(1, 0, 20)}, 102);
  Dump({Stats(1, 0, 30)}, 103);
  EXPECT_EQ(peers_.Find(Key(1))->session.received_bytes, 530u);
}

TEST_F(ResidentsTest, OnlyACompleteDumpProvesAbsence) {
  Add(1);
  EXPECT_EQ(Dump({}, 101), Keys{});
  EXPECT_EQ(Dump({}, 102, false), Keys{});
  EXPECT_EQ(Dump({}, 103), Keys{Key(1)});
}

TEST_F(ResidentsTest, CountersAreTotalsAndSavedOnce) {
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

// The kernel forgets a peer's stamps with the peer. The saved mark must cover the handshakes that
// the kernel accepted past us.
TEST_F(ResidentsTest, WhatIsSavedKnowsHandshakesThatWereMadePastUs) {
  const absl::Time wall = absl::FromUnixSeconds(1'800'000'000);
  const absl::Time rekey = wall + absl::Minutes(2);
  for (const absl::Duration step : {absl::ZeroDuration(), absl::Hours(87600), -absl::Hours(48)}) {
    store::Session session;
    session.mark = guard::Accept({}, ToTai64n(wall), At(wall));
    Add(1, false, session, 100);
    auto stats = Stats(1);
    // Two minutes later it made a handshake with the kernel; then the wall clock stepped.
    stats.last_handshake = rekey;
    peers_.Observe(Key(1), stats, absl::Seconds(230), At(rekey + absl::Seconds(10) + step, step));
    const auto saved = peers_.TakeDirty();
    ASSERT_EQ(saved.size(), 1u);
    EXPECT_FALSE(
        guard::IsFresh(saved[0].second.mark, ToTai64n(rekey), At(rekey + absl::Minutes(9))))
        << step;
    EXPECT_TRUE(guard::IsFresh(peers_.Find(Key(1))->session.mark, ToTai64n(rekey), At(rekey)))
        << "while it is in the device, that knows better";
  }
}

TEST_F(ResidentsTest, ASecondHandshakeIsNotTakenForTheFirst) {
  const absl::Time wall = absl::FromUnixSeconds(1'800'000'000);
  store::Session session;
  session.mark = guard::Accept({}, ToTai64n(wall), At(wall));
  Add(1, false, session, 100);
  auto stats = Stats(1);
  stats.last_handshake = wall + absl::Milliseconds(3);  // of the initiation that was accepted
  peers_.Observe(Key(1), stats, absl::Seconds(101), At(wall + absl::Seconds(1)));
  auto saved = peers_.TakeDirty();
  const absl::Time rekey = wall + absl::Seconds(2);
  EXPECT_TRUE(guard::IsFresh(saved[0].second.mark, ToTai64n(rekey), At(rekey)));
  stats.last_handshake = rekey;  // past us
  peers_.Observe(Key(1), stats, absl::Seconds(103), At(wall + absl::Seconds(3)));
  saved = peers_.TakeDirty();
  EXPECT_FALSE(guard::IsFresh(saved[0].second.mark, ToTai64n(rekey), At(rekey)));
}

TEST_F(ResidentsTest, TheIndexAgreesWithAScan) {
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
      const Resident& peer = *peers_.Find(key);
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
}  // namespace wicket::installer
