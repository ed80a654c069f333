// The parts of an installer (census, departures, reconciler, returner), on a store in a folder of
// its own and without a device.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <functional>
#include <thread>

#include "base/clock_fixture.h"
#include "guard/replay.h"
#include "installer/census.h"
#include "installer/departures.h"
#include "installer/reconciler.h"
#include "installer/returner.h"
#include "installer/rooms_fixture.h"
#include "installer/session_saver.h"
#include "store/store.h"

namespace wicket::installer {
namespace {

// --- the census -------------------------------------------------------------

class CensusTest : public StoreTest {
 protected:
  wgdev::PeerStats Stats(uint8_t n, absl::Time handshake = absl::UnixEpoch(),
                         const char* endpoint = "192.0.2.1:5") {
    return {
        .public_key = Key(n), .endpoint = *ParseEndpoint(endpoint), .last_handshake = handshake};
  }
  Census::Finding Observe(const wgdev::PeerStats& stats, absl::Duration after = {}) {
    const auto snapshot = store_->NewSnapshot();
    return census_.Observe(stats, *snapshot, &residents_, kSteady + after, At(kWall + after));
  }
  // Runs a whole dump that shows `stats`.
  Census::Outcome Dump(const std::vector<wgdev::PeerStats>& stats, bool complete = true) {
    census_.Begin(&residents_);
    for (const auto& one : stats) Observe(one);
    return census_.End(complete, &residents_, 16);
  }
  Resident* Install(uint8_t n) {
    store::Peer peer;
    peer.config.public_key = Key(n);
    Resident* resident = residents_.Add(peer, {}, Address{}, kSteady);
    resident->session.mark = guard::Accept({}, ToTai64n(kWall), At(kWall));
    resident->session.endpoint = *ParseEndpoint("192.0.2.1:5");
    return resident;
  }

  event::EventLog events_;
  Journal journal_{"wg0", &events_};
  Residents residents_{absl::Seconds(300)};
  Census census_{&journal_};
};

TEST_F(CensusTest, TheFirstSignOfASessionConfirmsAndAsksForTheKeepalive) {
  Put(1, "wg0", 25);
  Put(2);
  for (const uint8_t n : std::initializer_list<uint8_t>{1, 2}) Install(n);
  census_.Begin(&residents_);
  EXPECT_FALSE(Observe(Stats(1)).keepalive);
  EXPECT_TRUE(Observe(Stats(1, kWall)).keepalive);
  EXPECT_FALSE(Observe(Stats(1, kWall)).keepalive) << "once";
  EXPECT_FALSE(Observe(Stats(2, kWall)).keepalive) << "it has none";
  EXPECT_EQ(journal_.Read(Count::kConfirmed), 2u);
}

TEST_F(CensusTest, APeerThatIsNotStoredAnyMoreIsRevokedAndItsFlowForgotten) {
  Put(1, "wg1");
  Install(1);
  census_.Begin(&residents_);
  const auto finding = Observe(Stats(1));
  ASSERT_EQ(finding.flows.size(), 1u);
  EXPECT_FALSE(finding.flows[0].known);
  EXPECT_EQ(residents_.TakeRemovable(9), std::vector<PublicKey>{Key(1)});
}

TEST_F(CensusTest, AnExpiredPeerComesThroughUsAtOnceAndLeavesWhenTheClockCanBeBelieved) {
  Put(1, "wg0", 0, kWall - absl::Seconds(5));
  Install(1);
  census_.Begin(&residents_);
  const auto finding = Observe(Stats(1, kWall));
  ASSERT_FALSE(finding.flows.empty());
  EXPECT_FALSE(finding.flows[0].known) << "its next initiation is refused, not passed";
  Observe(Stats(1, kWall), Census::kExpiredFor - absl::Seconds(1));
  EXPECT_TRUE(residents_.TakeRemovable(9).empty());
  Observe(Stats(1, kWall), Census::kExpiredFor);
  EXPECT_EQ(residents_.TakeRemovable(9), std::vector<PublicKey>{Key(1)});
}

TEST_F(CensusTest, APeerThatUsesUpItsQuotaLeavesAndThatIsToldOnce) {
  event::EventLog::Watcher watcher(&events_);
  store::Peer stored;
  stored.config.public_key = Key(1);
  stored.device = "wg0";
  stored.quota = {.bytes = 1000, .period = absl::Hours(24)};
  auto writer = store_->Write();
  ASSERT_TRUE(writer->PutPeer(stored).ok());
  ASSERT_TRUE(writer->Commit().ok());
  const auto observe = [&](uint64_t bytes) {
    wgdev::PeerStats stats = Stats(1, kWall);
    stats.received_bytes = bytes;
    return Observe(stats);
  };
  Install(1);
  census_.Begin(&residents_);
  observe(500);  // the period begins here
  observe(1499);
  EXPECT_TRUE(residents_.TakeRemovable(9).empty());
  const auto finding = observe(1500);
  ASSERT_FALSE(finding.flows.empty());
  EXPECT_FALSE(finding.flows.back().known) << "its next initiation comes to us";
  observe(1600);
  EXPECT_EQ(residents_.TakeRemovable(9), std::vector<PublicKey>{Key(1)});
  int told = 0;
  for (const event::Event& event : watcher.Read(absl::ZeroDuration()).events) {
    told += event.kind == event::Kind::kOverQuota;
  }
  EXPECT_EQ(told, 1);
}

TEST_F(CensusTest, AStepOfTheClockBeginsTheTimeOfTheExpiredAgain) {
  Put(1, "wg0", 0, kWall - absl::Seconds(5));
  Install(1);
  census_.Begin(&residents_);
  Observe(Stats(1, kWall));
  census_.NoteClockStep(kSteady + absl::Seconds(20));
  Observe(Stats(1, kWall), Census::kExpiredFor);
  EXPECT_TRUE(residents_.TakeRemovable(9).empty());
  Observe(Stats(1, kWall), Census::kExpiredFor + absl::Seconds(20));
  EXPECT_FALSE(residents_.TakeRemovable(9).empty());
}

TEST_F(CensusTest, APeerWhoseClockEpisodeIsOverIsKnownAgain) {
  Put(1, "wg0", 0, kWall + absl::Hours(24));
  Install(1);
  census_.Begin(&residents_);
  const auto snapshot = store_->NewSnapshot();
  census_.Observe(Stats(1, kWall), *snapshot, &residents_, kSteady,
                  At(kWall + absl::Hours(48), absl::Hours(48)));
  const auto finding = Observe(Stats(1, kWall), absl::Seconds(3));
  ASSERT_EQ(finding.flows.size(), 1u);
  EXPECT_TRUE(finding.flows[0].known);
  Observe(Stats(1, kWall), absl::Minutes(60));
  EXPECT_TRUE(residents_.TakeRemovable(9).empty());
}

TEST_F(CensusTest, AClockEpisodeThatEndsMakesNoLeavingPeerKnown) {
  Put(1, "wg0", 0, kWall + absl::Hours(24));
  Install(1)->session.endpoint = *ParseEndpoint("192.0.2.1:5");
  Dump({Stats(1, kWall)});
  ASSERT_EQ(residents_.BeginLeaving(kSteady + absl::Seconds(301), 9, {}).size(), 1u);
  census_.Begin(&residents_);
  census_.Observe(Stats(1, kWall), *store_->NewSnapshot(), &residents_, kSteady,
                  At(kWall + absl::Hours(48), absl::Hours(48)));
  const auto finding = Observe(Stats(1, kWall), absl::Seconds(302));
  EXPECT_TRUE(finding.flows.empty()) << "its handshakes would pass while it is removed";
}

TEST_F(CensusTest, AdoptsStoredPeersAndDrawsAMarkFromTheirHandshake) {
  Put(1);
  census_.Begin(&residents_);
  const auto finding = Observe(Stats(1, kWall - absl::Seconds(30)));
  EXPECT_TRUE(finding.outdated) << "an empty digest is not that of the stored settings";
  ASSERT_EQ(finding.flows.size(), 1u);
  EXPECT_TRUE(finding.flows[0].known);
  EXPECT_EQ(journal_.Read(Count::kAdopted), 1u);
  const auto saved = residents_.TakeDirty();
  ASSERT_EQ(saved.size(), 1u);
  const StampMark& mark = saved[0].second.mark;
  EXPECT_FALSE(guard::IsFresh(mark, ToTai64n(kWall - absl::Seconds(30)), At(kWall)))
      << "the handshake that nobody saved is a replay";
  const absl::Time soon = kWall + guard::kHandshakeMax + absl::Seconds(1);
  EXPECT_TRUE(guard::IsFresh(mark, ToTai64n(soon), At(soon)));
}

TEST_F(CensusTest, AnAdoptedPeerHasTheSessionThatTheStoreDoesNotHaveYet) {
  Put(1);
  store::Committer committer(&*store_);
  SessionSaver saver(&committer);
  auto writer = std::make_optional(*store_->Write());  // so nothing can be committed yet
  store::Session session;
  session.mark = guard::Accept({}, ToTai64n(kWall), At(kWall));
  session.installs = 7;
  saver.Submit({{Key(1), session}});
  Census census(&journal_, &saver);
  census.Begin(&residents_);
  census.Observe(Stats(1), *store_->NewSnapshot(), &residents_, kSteady, At(kWall));
  EXPECT_EQ(residents_.Find(Key(1))->session.installs, 7u);
  EXPECT_FALSE(guard::IsFresh(residents_.TakeDirty()[0].second.mark, ToTai64n(kWall), At(kWall)));
  writer.reset();
}

TEST_F(CensusTest, APeerThatWasInstalledAgainGetsItsKeepaliveWithItsNextSession) {
  Put(1, "wg0", 25);
  Resident* peer = Install(1);
  census_.Begin(&residents_);
  EXPECT_TRUE(Observe(Stats(1, kWall)).keepalive);
  peer->keepalive_held = true;
  EXPECT_FALSE(Observe(Stats(1, kWall)).keepalive) << "the session is that of before";
  EXPECT_TRUE(Observe(Stats(1, kWall + absl::Seconds(9))).keepalive);
}

TEST_F(CensusTest, AnUnconfirmedPeerIsAdoptedWithoutItsKeepalive) {
  Put(1, "wg0", 25);
  Put(2, "wg0", 25);
  store::Peer peer = *store_->NewSnapshot()->FindPeer(Key(1));
  wgdev::PeerStats held = Stats(1), confirmed = Stats(2, kWall);
  held.digest = confirmed.digest = wgdev::DigestOf(peer.config, /*hold_keepalive=*/true);
  census_.Begin(&residents_);
  EXPECT_FALSE(Observe(held).outdated);
  EXPECT_TRUE(Observe(confirmed).outdated) << "its session is confirmed; it should have one";
}

TEST_F(CensusTest, ForeignPeersAreLeftAloneAndNamedWhenTwoDumpsShowThem) {
  EXPECT_TRUE(Dump({Stats(9)}).foreign.empty());
  ASSERT_NE(census_.TakeForeign(), nullptr);
  EXPECT_EQ(census_.TakeForeign(), nullptr) << "nothing has changed";
  EXPECT_EQ(Dump({Stats(9)}).foreign, std::vector<PublicKey>{Key(9)});
  Dump({}, /*complete=*/false);
  EXPECT_TRUE(census_.foreign().contains(Key(9))) << "a dump that missed some proves nothing";
  Dump({});
  EXPECT_FALSE(census_.foreign().contains(Key(9)));
}

TEST_F(CensusTest, RevokedPeersAreNamedUntilACompleteDumpShowsNone) {
  Put(1);
  Delete(1);
  auto outcome = Dump({Stats(1)});
  EXPECT_EQ(outcome.revoked, std::vector<PublicKey>{Key(1)});
  EXPECT_FALSE(outcome.swept);
  EXPECT_FALSE(Dump({}, /*complete=*/false).swept);
  EXPECT_TRUE(Dump({}).swept);
  EXPECT_FALSE(Dump({}).swept) << "told once";
}

TEST_F(CensusTest, APeerThatSomebodyRemovedIsForgottenWithItsFlow) {
  Put(1);
  Install(1);
  Dump({Stats(1)});
  Dump({});
  const auto outcome = Dump({});
  ASSERT_EQ(outcome.flows.size(), 1u);
  EXPECT_FALSE(outcome.flows[0].known);
  EXPECT_EQ(residents_.size(), 0u);
}

// --- departures -------------------------------------------------------------

class DeparturesTest : public CensusTest {
 protected:
  // Makes peers whose probation is over, and which a later dump shows idle.
  void MakeRemovable(std::initializer_list<uint8_t> keys) {
    for (uint8_t n : keys) {
      Put(n);
      Install(n);
    }
    const auto flows = departures_.Begin(&residents_, kSteady + absl::Seconds(31), {});
    EXPECT_EQ(flows.size(), keys.size());
    std::vector<wgdev::PeerStats> stats;
    for (uint8_t n : keys) stats.push_back(Stats(n));
    Dump(stats);
    ASSERT_TRUE(departures_.Choose(&residents_));
    departures_.Await(/*ticket=*/5, kSteady);
  }
  bool MayGo(uint64_t saved, int after_s) {
    return departures_.MayGo(saved, fails_, kSteady + absl::Seconds(after_s));
  }
  std::vector<PublicKey> Slice(size_t count) {
    const auto snapshot = store_->NewSnapshot();
    return departures_.Slice(&residents_, *snapshot, kWall, count,
                             [&](const PublicKey& key) { return !lost_.contains(key); });
  }
  Departures departures_{&journal_};
  bool fails_ = false;                   // the last save
  absl::flat_hash_set<PublicKey> lost_;  // if they left now, their sessions would be lost
};

TEST_F(DeparturesTest, NobodyGoesBeforeTheSessionIsSaved) {
  MakeRemovable({1, 2});
  EXPECT_FALSE(MayGo(4, 1));
  EXPECT_TRUE(MayGo(5, 1));
  EXPECT_EQ(Slice(1).size(), 1u);
  EXPECT_TRUE(departures_.waiting());
  EXPECT_EQ(Slice(9).size(), 1u);
  EXPECT_FALSE(departures_.waiting());
}

TEST_F(DeparturesTest, WhileTheStoreCannotBeWrittenPeersLeaveAsLongAsMemoryHasRoom) {
  MakeRemovable({1, 2});
  EXPECT_FALSE(MayGo(0, 10));
  EXPECT_TRUE(MayGo(0, 11));
  lost_ = {Key(1)};
  EXPECT_EQ(Slice(9), std::vector<PublicKey>{Key(2)}) << "the session of this one is durable";
  EXPECT_FALSE(departures_.waiting());
  EXPECT_FALSE(residents_.Find(Key(1))->leaving) << "no room for its session: it stays";
}

TEST_F(DeparturesTest, NobodyWaitsForASaveThatIsKnownToFail) {
  MakeRemovable({1});
  fails_ = true;
  EXPECT_TRUE(MayGo(0, 1));
}

TEST_F(DeparturesTest, APeerThatCameBackStays) {
  MakeRemovable({1, 2});
  residents_.Touch(Key(1), kSteady + absl::Seconds(40));
  ASSERT_TRUE(MayGo(5, 1));
  EXPECT_EQ(Slice(9), std::vector<PublicKey>{Key(2)});
}

TEST_F(DeparturesTest, WhatTheDeviceDoesNotLetGoOfStays) {
  MakeRemovable({1, 2});
  Slice(9);
  EXPECT_FALSE(departures_.Removed(Key(1), absl::UnavailableError("busy"), &residents_));
  EXPECT_NE(residents_.Find(Key(1)), nullptr);
  EXPECT_FALSE(departures_.Removed(Key(2), absl::OkStatus(), &residents_));
  EXPECT_EQ(residents_.Find(Key(2)), nullptr);
  EXPECT_EQ(journal_.Read(Count::kEvictedUnconfirmed), 1u);
}

TEST_F(DeparturesTest, APeerThatIsStoredAgainBeforeItWasOutStays) {
  Put(1);
  Install(1);
  Delete(1);
  residents_.Revoke(Key(1));
  ASSERT_TRUE(departures_.Choose(&residents_));
  Put(1);
  EXPECT_TRUE(Slice(9).empty());
  EXPECT_FALSE(residents_.Find(Key(1))->revoked);
}

TEST_F(DeparturesTest, ARevokedPeerIsReportedSoThatItsRevocationCanBeForgotten) {
  Install(1);
  residents_.Revoke(Key(1));
  ASSERT_TRUE(departures_.Choose(&residents_));
  EXPECT_EQ(Slice(9), std::vector<PublicKey>{Key(1)});
  EXPECT_TRUE(departures_.Removed(Key(1), absl::OkStatus(), &residents_));
  EXPECT_EQ(journal_.Read(Count::kEvictedRevoked), 1u);
}

// --- the reconciler ------------------------------------------------------------

// Writes down what it is told.
class FakeDevice : public wgdev::Device {
 public:
  struct Told {
    size_t allowed_ips;
    bool replace;
  };
  explicit FakeDevice(std::vector<Told>* told) : told_(told) {}
  absl::StatusOr<wgdev::DeviceInfo> ReadInfo() override { return wgdev::DeviceInfo{}; }
  std::vector<absl::Status> Install(std::span<const wgdev::PeerInstall> peers) override {
    for (const wgdev::PeerInstall& peer : peers) {
      told_->push_back({peer.config->allowed_ips.size(), peer.replace_allowed_ips});
    }
    return std::vector<absl::Status>(peers.size());
  }
  std::vector<absl::Status> SetKeepalives(std::span<const PeerConfig* const> peers) override {
    return std::vector<absl::Status>(peers.size());
  }
  std::vector<absl::Status> Remove(std::span<const PublicKey> peers) override {
    return std::vector<absl::Status>(peers.size());
  }
  absl::StatusOr<std::unique_ptr<wgdev::Dump>> StartDump() override {
    return absl::UnimplementedError("no dump");
  }
  absl::string_view backend() const override { return "fake"; }

 private:
  std::vector<Told>* told_;
};

TEST_F(CensusTest, AnUpdateTellsTheDeviceOnlyWhatItHasNot) {
  store::Committer committer(&*store_);
  std::vector<FakeDevice::Told> told;
  Hand hand("wg0", nullptr);
  hand.Take(std::make_unique<FakeDevice>(&told));
  Reconciler reconciler(&hand, &residents_, &journal_, &committer);
  Put(1);
  residents_.Add(*store_->NewSnapshot()->FindPeer(Key(1)), {}, Address{}, kSteady);
  const auto update = [&](const std::function<void(store::Peer&)>& change) {
    store::Peer copy = *store_->NewSnapshot()->FindPeer(Key(1));
    change(copy);
    auto writer = store_->Write();
    ASSERT_TRUE(writer->PutPeer(copy).ok());
    ASSERT_TRUE(writer->Commit().ok());
    auto snapshot = store_->NewSnapshot();
    ASSERT_TRUE(reconciler.Sync(Key(1), /*swept=*/true, &*snapshot).ok());
  };
  update([](store::Peer& p) { p.labels = {{"team", "a"}}; });
  EXPECT_TRUE(told.empty()) << "a label is nothing to the device";
  update([](store::Peer& p) { p.config.persistent_keepalive_s = 25; });
  ASSERT_EQ(told.size(), 1u);
  EXPECT_FALSE(told[0].replace) << "its allowed IPs are as they were";
  update([](store::Peer& p) { p.config.allowed_ips = {*ParsePrefix("10.0.0.1/32")}; });
  ASSERT_EQ(told.size(), 2u);
  EXPECT_TRUE(told[1].replace);
  EXPECT_EQ(told[1].allowed_ips, 1u);
  residents_.Find(Key(1))->given.reset();
  update([](store::Peer& p) { p.labels = {{"team", "b"}}; });
  ASSERT_EQ(told.size(), 3u) << "what the device has is not known";
  EXPECT_TRUE(told[2].replace);
}

// --- the returner -------------------------------------------------------------

class ReturnerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    returner_.SetPacer(std::make_unique<reinject::Pacer>(
        reinject::Pace{1'000, 1}, [this](uint64_t) { return backlog_; }, &turns_));
  }

  event::EventLog events_;
  Journal journal_{"wg0", &events_};
  reinject::TurnClock turns_;
  std::optional<uint32_t> backlog_ = 0;
  Returner returner_{&journal_};
};

TEST_F(ReturnerTest, AnInterfaceThatIsGoneHasItsPacketsWait) {
  returner_.SetRoutes({{7, reinject::Mode::kLive}, {8, reinject::Mode::kInvert}});
  EXPECT_EQ(returner_.ModeOf(7), reinject::Mode::kLive);
  EXPECT_EQ(returner_.ModeOf(9), reinject::Mode::kWait);
  EXPECT_TRUE(returner_.Inverts());
  returner_.SetRoutes({{7, reinject::Mode::kLive}});
  EXPECT_EQ(returner_.ModeOf(8), reinject::Mode::kWait);
  EXPECT_FALSE(returner_.Inverts());
}

TEST_F(ReturnerTest, GivesBackNoMoreThanTheDeviceHasRoomFor) {
  returner_.SetRoutes({{7, reinject::Mode::kRaw}});
  const size_t most = returner_.Room(100'000);
  EXPECT_GT(most, 0u);
  EXPECT_LT(most, 512u) << "the kernel is under load from there on";
  EXPECT_EQ(returner_.Room(5), 5u);
  EXPECT_FALSE(returner_.held_back());
  backlog_ = 250;  // of 256
  EXPECT_EQ(returner_.Room(100), 0u) << "a batch too small to be worth it";
  EXPECT_TRUE(returner_.held_back());
  EXPECT_EQ(journal_.Read(Count::kHeldBack), 1u);
  EXPECT_EQ(returner_.Room(3), 3u) << "a few that there is room for";
  EXPECT_FALSE(returner_.held_back());
}

TEST_F(ReturnerTest, WhatIsNotGivenBackNeedsNoRoom) {
  returner_.SetRoutes({{7, reinject::Mode::kInvert}});
  backlog_ = 500;
  EXPECT_EQ(returner_.Room(1000), 1000u);
  intake::Demand demand{};
  demand.ifindex = 7;
  demand.seen_ns = SteadyNanos();
  EXPECT_FALSE(returner_.GiveBack(&demand));
  returner_.Charge();
  EXPECT_EQ(journal_.Read(Count::kReinjected) + journal_.Read(Count::kReinjectErrors), 0u);
}

}  // namespace
}  // namespace wicket::installer
