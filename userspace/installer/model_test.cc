// Demands, dumps, evictions, deletes and clock steps, in any order, against a model of the device
// in twenty lines. The invariants:
//
//   - no live session is evicted,
//   - no initiation is accepted twice, by us or by the device behind us, but for the two gaps
//     below,
//   - once the clock is right, a client is let in within ten minutes,
//   - only a peer that was expired for ten minutes without a step or a start is deleted, and only
//     one that is expired by the clock leaves the device before its session is dead.
//
// Half of the peers expire, after a day. A process may be killed and started again at any time:
// what it has not saved is lost, and the peers in the device are adopted.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <set>

#include "base/clock_fixture.h"
#include "guard/replay.h"
#include "installer/admission.h"
#include "installer/census.h"
#include "installer/departures.h"
#include "roster/expiry_collector.h"
#include "roster/roster.h"
#include "store/store.h"

namespace wicket::installer {
namespace {

constexpr int kPeers = 6;
const absl::Time kStart = absl::FromUnixSeconds(1'800'000'000);

PublicKey Key(int n) {
  PublicKey key;
  key.bytes[0] = static_cast<uint8_t>(n + 1);
  return key;
}

// Like the kernel, it forgets a peer's stamps with the peer, and takes times from the wall clock.
struct DevicePeer {
  Tai64n latest{};
  absl::Time last_handshake = absl::UnixEpoch();
  absl::Duration alive_since = -absl::InfiniteDuration();  // steady; of its last handshake
  Endpoint endpoint;
};

class Model : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    char name[] = "/tmp/wicket-model-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    path_ = name;
    store_.emplace(*store::Store::Open({.path = path_ + "/db", .bytes_max = 1 << 24}));
    options_.name = "wg0";
    committer_ = std::make_unique<store::Committer>(&*store_);
    roster_ = std::make_unique<roster::Roster>(committer_.get(), &no_devices_, &events_);
    StartCollector();
    for (int n = 0; n < kPeers; ++n) Put(n);
  }
  void TearDown() override {
    collector_.reset();
    roster_.reset();
    committer_.reset();
    store_.reset();
    std::filesystem::remove_all(path_);
  }

  absl::Time Right() const { return kStart + steady_; }
  absl::Time Wall() const { return Right() + off_; }
  Instant Now() const { return At(Wall(), off_); }

  static absl::Time ExpiryOf(int n) {
    return n % 2 == 0 ? kStart + absl::Hours(24) : absl::InfiniteFuture();
  }
  bool IsExpired(int n) const { return ExpiryOf(n) <= Wall(); }

  void StartCollector() {
    collector_ =
        std::make_unique<roster::ExpiryCollector>(&*store_, roster_.get(), absl::Minutes(10));
  }

  // The process dies, and a new one begins; the device and the program's flows stay.
  void Restart(bool killed) {
    if (!killed) Save();
    rooms_ = std::make_unique<Rooms>(&journal_);
    collector_.reset();
    StartCollector();
    surveyed_ = false;
    disturbed_ = steady_;
  }

  void Put(int n) {
    store::Peer peer;
    peer.config.public_key = Key(n);
    peer.device = "wg0";
    peer.expires = ExpiryOf(n);
    auto writer = store_->Write();
    ASSERT_TRUE(writer->PutPeer(peer).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }

  // Gives the device an initiation, through us or past us.
  void Accept(int n, const Tai64n& stamp, const Endpoint& from) {
    const auto it = device_.find(n);
    if (it == device_.end() || stamp <= it->second.latest) return;
    const auto [before, first] = accepted_[n].try_emplace(stamp, Now());
    // What follows from a replay is not judged.
    if (!first && IsGap(n, stamp, before->second)) replayed_.insert(n);
    EXPECT_TRUE(first || replayed_.contains(n)) << "peer " << n << " accepted a replay";
    it->second = {stamp, Wall(), steady_, from};
  }

  // The gap of guard/replay.h: while our clock is behind, its own time comes to a stamp that looked
  // like one from the future. And an estimate is too low while our clock is behind.
  bool IsGap(int n, const Tai64n& stamp, const Instant& accepted) const {
    const auto estimated = estimated_.find(n);
    if (estimated != estimated_.end() && accepted.up <= estimated->second)
      return off_ < absl::ZeroDuration();
    return guard::IsFromTheFuture(stamp, accepted.wall) &&
           stamp <= ToTai64n(Wall() + guard::kClockSkewMax) &&
           StepBetween(accepted, Now()) <= absl::ZeroDuration();
  }

  // A client waits five seconds between two initiations; [WG 6.1].
  bool MaySend(int n) {
    if (steady_ - sent_[n] < guard::kHandshakeMax) return false;
    sent_[n] = steady_;
    return true;
  }

  // Sends an initiation through us. Returns: the reason of its refusal, if any.
  std::optional<Count> Demand(int n, const Tai64n& stamp) {
    if (!surveyed_) Dump(true);
    intake::Demand demand;
    demand.public_key = Key(n);
    demand.stamp = stamp;
    demand.source = *ParseEndpoint("192.0.2.1:7");
    demand.source.port = static_cast<uint16_t>(1000 + n);
    const auto snapshot = store_->NewSnapshot();
    Known known{.resident = rooms_->residents.Find(Key(n))};
    const auto stored = snapshot->FindPeer(Key(n));
    if (stored.ok()) known.stored = &*stored;
    const auto session = snapshot->FindSession(Key(n));
    if (known.resident == nullptr && session) known.session = &*session;
    rooms_->admission.BeginBatch(options_, Key(200));
    const Decision decision = rooms_->admission.Judge(demand, known, rooms_->residents,
                                                      reinject::Mode::kLive, Now(), steady_);
    if (decision.refused) return decision.refused;
    if (decision.reset) device_.erase(n);
    if (decision.install) device_.emplace(n, DevicePeer{});
    if (decision.passed_us) {
      rooms_->residents.Touch(Key(n), steady_);
      Accept(n, stamp, device_[n].endpoint);
      return std::nullopt;
    }
    Resident* peer = rooms_->residents.Find(Key(n));
    if (peer == nullptr)
      peer = rooms_->residents.Add(*stored, decision.session, Address{}, steady_);
    peer->session.mark = decision.session.mark;
    peer->past_us = {};
    peer->handshake_seen = false;
    peer->session.endpoint = demand.source;
    rooms_->residents.Touch(Key(n), steady_);
    rooms_->residents.MarkDirty(Key(n));
    Accept(n, stamp, demand.source);
    return std::nullopt;
  }

  // The XDP program passes an initiation of a known flow to the device.
  void Apply(const FlowChanges& flows) {
    for (const FlowChange& flow : flows) {
      if (flow.source.address.family != Family::kNone) known_[flow.source.port - 1000] = flow.known;
    }
  }

  void Save() {
    auto writer = store_->Write();
    for (const auto& [key, session] : rooms_->residents.TakeDirty()) {
      if (writer->HasPeer(key).value_or(false)) {
        ASSERT_TRUE(writer->PutSession(key, session).ok());
      }
    }
    ASSERT_TRUE(writer->Commit().ok());
  }

  void Dump(bool complete) {
    rooms_->census.Begin(&rooms_->residents);
    surveyed_ = true;
    const auto snapshot = store_->NewSnapshot();
    for (const auto& [n, peer] : device_) {
      if (!complete && random_() % 2) continue;
      const bool adopted = rooms_->residents.Find(Key(n)) == nullptr;
      const Census::Finding finding = rooms_->census.Observe(
          {.public_key = Key(n), .endpoint = peer.endpoint, .last_handshake = peer.last_handshake},
          *snapshot, &rooms_->residents, steady_, Now());
      Apply(finding.flows);
      const Resident* resident = rooms_->residents.Find(Key(n));
      if (adopted && resident != nullptr && resident->session.mark.estimated) {
        estimated_[n] = Now().up;
      }
    }
    const Census::Outcome outcome = rooms_->census.End(complete, &rooms_->residents, 0);
    Apply(outcome.flows);
    for (const PublicKey& key : outcome.revoked) {
      device_.erase(key.bytes[0] - 1);
    }
  }

  void LetLeave() {
    Apply(rooms_->departures.Begin(&rooms_->residents, steady_, {}));
    if (rooms_->departures.Choose(&rooms_->residents)) rooms_->departures.Await(1, steady_);
    if (!rooms_->departures.waiting()) return;
    Save();
    ASSERT_TRUE(rooms_->departures.MayGo(1, false, steady_));
    for (const PublicKey& key :
         rooms_->departures.Slice(&rooms_->residents, *store_->NewSnapshot(), Wall(), 16,
                                  [](const PublicKey&) { return true; })) {
      const int n = key.bytes[0] - 1;
      const Resident& peer = *rooms_->residents.Find(key);
      if (!peer.revoked) {
        EXPECT_GT(steady_ - device_[n].alive_since, absl::Seconds(180))
            << "peer " << n << " had a live session";
        EXPECT_GE(steady_ - peer.last_request, kProbationInACrowd);
      } else {
        EXPECT_TRUE(!stored_[n] || IsExpired(n)) << "peer " << n << " is stored, and was revoked";
      }
      device_.erase(n);
      rooms_->departures.Removed(key, absl::OkStatus(), &rooms_->residents);
    }
  }

  void Step(absl::Duration off) {
    if (off == off_) return;
    off_ = off;
    rooms_->census.NoteClockStep(steady_);
    collector_->NoteStep();
    disturbed_ = steady_;
  }

  // Waits until what it deletes is deleted.
  void Collect() {
    collector_->Tick(steady_, Wall());
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(committer_->Commit([](store::Writer&) { return absl::OkStatus(); }).ok());
    }
    for (int n = 0; n < kPeers; ++n) {
      if (!stored_[n] || store_->NewSnapshot()->FindPeer(Key(n)).ok()) continue;
      EXPECT_TRUE(IsExpired(n)) << "peer " << n << " was deleted";
      EXPECT_GE(steady_ - disturbed_, absl::Minutes(10)) << "peer " << n << " was deleted too soon";
      stored_[n] = false;
    }
  }

  void Delete(int n) {
    auto writer = store_->Write();
    ASSERT_TRUE(writer->DeletePeer(Key(n)).ok());
    ASSERT_TRUE(writer->Commit().ok());
    stored_[n] = false;
  }

  void Act() {
    const int n = static_cast<int>(random_() % kPeers);
    // Stamps of one client never repeat: [WG 5.1], 2^24 ns apart.
    steady_ += absl::Milliseconds(20 + static_cast<int64_t>(random_() % 20'000));
    Collect();
    switch (random_() % 13) {
      case 0:
      case 1:
      case 2:
        if (MaySend(n)) Demand(n, ToTai64n(Right())).has_value();
        break;
      case 3:
      case 4:  // a rekey: the program passes initiations of known flows
        if (!MaySend(n)) break;
        if (!known_[n]) {
          Demand(n, ToTai64n(Right())).has_value();
        } else if (device_.count(n)) {
          Accept(n, ToTai64n(Right()), device_[n].endpoint);
        }
        break;
      case 5:  // an attacker replays a captured initiation; dumps are seconds apart
        if (!accepted_[n].empty()) {
          Dump(true);
          Demand(n, std::next(accepted_[n].begin(),
                              static_cast<ptrdiff_t>(random_() % accepted_[n].size()))
                        ->first);
        }
        break;
      case 6:
      case 7:
        Dump(random_() % 4 != 0);
        break;
      case 8:
        LetLeave();
        break;
      case 9:
        Save();
        break;
      case 10: {
        const absl::Duration sizes[] = {absl::Seconds(1), absl::Minutes(20), absl::Hours(48),
                                        absl::Hours(87600)};
        if (random_() % 4 != 0) break;
        const absl::Duration size = sizes[random_() % 4];
        const uint64_t way = random_() % 4;
        Step(way < 2 ? absl::ZeroDuration() : way == 2 ? size : -size);
        break;
      }
      case 11:
        if (random_() % 4 == 0) Restart(random_() % 2 == 0);
        break;
      default:
        if (random_() % 8 == 0) {
          if (stored_[n]) {
            Delete(n);
          } else {
            Put(n);
            stored_[n] = true;
            // A peer that is created again has no history.
            accepted_[n].clear();
            estimated_.erase(n);
          }
        }
    }
  }

  std::mt19937_64 random_{static_cast<uint64_t>(GetParam())};
  std::string path_;
  std::optional<store::Store> store_;
  Options options_;
  event::EventLog events_;
  Journal journal_{"wg0", &events_};
  // What a process knows; another one begins without.
  struct Rooms {
    explicit Rooms(Journal* journal) : admission(journal), census(journal), departures(journal) {}
    Residents residents{absl::Seconds(200)};
    Admission admission;
    Census census;
    Departures departures;
  };
  std::unique_ptr<Rooms> rooms_ = std::make_unique<Rooms>(&journal_);
  roster::Devices no_devices_;
  std::unique_ptr<store::Committer> committer_;
  std::unique_ptr<roster::Roster> roster_;
  std::unique_ptr<roster::ExpiryCollector> collector_;

  absl::Duration steady_ = absl::Seconds(1000), off_;
  absl::Duration disturbed_;  // steady time of the last step or start
  std::map<int, DevicePeer> device_;
  std::map<int, std::map<Tai64n, Instant>> accepted_;
  std::map<int, absl::Duration> estimated_;  // when a peer was adopted without a mark
  std::set<int> replayed_;                   // peers that a replay in a gap was accepted of
  bool surveyed_ = true;                     // by this process
  std::map<int, absl::Duration> sent_;       // a client's last initiation, steady
  std::map<int, bool> known_;                // flows
  std::map<int, bool> stored_{{0, true}, {1, true}, {2, true}, {3, true}, {4, true}, {5, true}};
};

TEST_P(Model, HoldsWhateverHappens) {
  for (int i = 0; i < 400 && !HasFailure(); ++i) Act();
  Step(absl::ZeroDuration());
  // Ten minutes without disturbance; sessions die, and their peers leave.
  for (int i = 0; i < 60; ++i) {
    steady_ += absl::Seconds(10) + absl::Milliseconds(20);
    Collect();
    Dump(true);
    LetLeave();
  }
  Save();
  for (int n = 0; n < kPeers; ++n) {
    if (!stored_[n]) continue;
    const auto refused = Demand(n, ToTai64n(Right()));
    EXPECT_FALSE(refused) << "peer " << n << " is locked out, for reason "
                          << static_cast<int>(refused.value_or(Count::kRequests));
    EXPECT_TRUE(device_.count(n));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, Model, ::testing::Range(1, 41));

}  // namespace
}  // namespace wicket::installer
