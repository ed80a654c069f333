// Demands, dumps, evictions, deletes and clock steps, in any order, against a model of the device
// in twenty lines. The invariants:
//
//   - no live session is evicted,
//   - no initiation is accepted twice, by us or by the device behind us,
//   - once the clock is right, a client is let in within ten minutes,
//   - a step of the clock removes no stored peer from the device.
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <map>
#include <random>
#include <set>

#include "guard/replay.h"
#include "installer/admission.h"
#include "installer/census.h"
#include "installer/departures.h"
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
    for (int n = 0; n < kPeers; ++n) Put(n);
  }
  void TearDown() override {
    store_.reset();
    std::filesystem::remove_all(path_);
  }

  absl::Time Right() const { return kStart + steady_; }
  absl::Time Wall() const { return Right() + off_; }

  void Put(int n) {
    store::Peer peer;
    peer.config.public_key = Key(n);
    peer.device = "wg0";
    auto writer = store_->Write();
    ASSERT_TRUE(writer->PutPeer(peer).ok());
    ASSERT_TRUE(writer->Commit().ok());
  }

  // Gives the device an initiation, through us or past us.
  void Accept(int n, const Tai64n& stamp, const Endpoint& from) {
    const auto it = device_.find(n);
    if (it == device_.end() || stamp <= it->second.latest) return;
    EXPECT_TRUE(accepted_[n].insert(stamp).second) << "peer " << n << " accepted a replay";
    it->second = {stamp, Wall(), steady_, from};
  }

  // Sends an initiation through us. Returns: the reason of its refusal, if any.
  std::optional<Count> Demand(int n, const Tai64n& stamp) {
    intake::Demand demand;
    demand.public_key = Key(n);
    demand.stamp = stamp;
    demand.source = *ParseEndpoint("192.0.2.1:7");
    demand.source.port = static_cast<uint16_t>(1000 + n);
    const auto snapshot = store_->NewSnapshot();
    Known known{.resident = residents_.Find(Key(n))};
    const auto stored = snapshot->FindPeer(Key(n));
    if (stored.ok()) known.stored = &*stored;
    const auto session = snapshot->FindSession(Key(n));
    if (known.resident == nullptr && session) known.session = &*session;
    admission_.BeginBatch(options_, Key(200));
    const Decision decision = admission_.Judge(demand, known, residents_, reinject::Mode::kLive,
                                               Wall(), steady_, forward_step_);
    if (decision.refused) return decision.refused;
    if (decision.reset) device_.erase(n);
    if (decision.install) device_.emplace(n, DevicePeer{});
    Resident* peer = residents_.Find(Key(n));
    if (peer == nullptr) peer = residents_.Add(*stored, decision.session, Address{}, steady_);
    peer->session.mark = decision.session.mark;
    peer->past_us = {};
    peer->mark_accepted = steady_;
    peer->handshake_seen = false;
    peer->session.endpoint = demand.source;
    residents_.Touch(Key(n), steady_);
    residents_.MarkDirty(Key(n));
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
    for (const auto& [key, session] : residents_.TakeDirty()) {
      if (writer->HasPeer(key).value_or(false)) {
        ASSERT_TRUE(writer->PutSession(key, session).ok());
      }
    }
    ASSERT_TRUE(writer->Commit().ok());
  }

  void Dump(bool complete) {
    census_.Begin(&residents_);
    const auto snapshot = store_->NewSnapshot();
    for (const auto& [n, peer] : device_) {
      if (!complete && random_() % 2) continue;
      census_.Observe(
          {.public_key = Key(n), .endpoint = peer.endpoint, .last_handshake = peer.last_handshake},
          *snapshot, &residents_, steady_, Wall());
    }
    const Census::Outcome outcome = census_.End(complete, &residents_, 0);
    Apply(outcome.flows);
    for (const PublicKey& key : outcome.revoked) {
      device_.erase(key.bytes[0] - 1);
    }
  }

  void LetLeave() {
    Apply(departures_.Begin(&residents_, steady_, {}));
    if (departures_.Choose(&residents_)) departures_.Await(1, steady_);
    if (!departures_.waiting()) return;
    Save();
    ASSERT_TRUE(departures_.MayGo({1, false, true}, steady_, &residents_));
    for (const PublicKey& key :
         departures_.Slice(&residents_, *store_->NewSnapshot(), Wall(), 16)) {
      const int n = key.bytes[0] - 1;
      const Resident& peer = *residents_.Find(key);
      if (!peer.revoked) {
        EXPECT_GT(steady_ - device_[n].alive_since, absl::Seconds(180))
            << "peer " << n << " had a live session";
        EXPECT_GE(steady_ - peer.last_request, kProbationInACrowd);
      } else {
        EXPECT_FALSE(stored_[n]) << "peer " << n << " is stored, and was revoked";
      }
      device_.erase(n);
      departures_.Removed(key, absl::OkStatus(), &residents_);
    }
  }

  void Step(absl::Duration off) {
    const absl::Duration by = off - off_;
    if (by == absl::ZeroDuration()) return;
    off_ = off;
    // The same as Installer::NoteClockStep.
    forward_step_ = by > absl::ZeroDuration() ? Wall() : forward_step_ + by;
    census_.NoteClockStep(steady_);
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
    switch (random_() % 12) {
      case 0:
      case 1:
      case 2:
        Demand(n, ToTai64n(Right())).has_value();
        break;
      case 3:
      case 4:  // a rekey: the program passes initiations of known flows
        if (!known_[n]) {
          Demand(n, ToTai64n(Right())).has_value();
        } else if (device_.count(n)) {
          Accept(n, ToTai64n(Right()), device_[n].endpoint);
        }
        break;
      case 5:  // an attacker replays a captured initiation
        if (!accepted_[n].empty()) {
          Demand(n, *std::next(accepted_[n].begin(),
                               static_cast<ptrdiff_t>(random_() % accepted_[n].size())));
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
      default:
        if (random_() % 8 == 0) {
          if (stored_[n]) {
            Delete(n);
          } else {
            Put(n);
            stored_[n] = true;
            // A peer that is created again has no history.
            accepted_[n].clear();
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
  Residents residents_{absl::Seconds(200)};
  Admission admission_{&journal_};
  Census census_{&journal_};
  Departures departures_{&journal_};

  absl::Duration steady_ = absl::Seconds(1000), off_;
  absl::Time forward_step_ = absl::InfinitePast();
  std::map<int, DevicePeer> device_;
  std::map<int, std::set<Tai64n>> accepted_;
  std::map<int, bool> known_;  // flows
  std::map<int, bool> stored_{{0, true}, {1, true}, {2, true}, {3, true}, {4, true}, {5, true}};
};

TEST_P(Model, HoldsWhateverHappens) {
  for (int i = 0; i < 400 && !HasFailure(); ++i) Act();
  Step(absl::ZeroDuration());
  // Ten minutes without disturbance; sessions die, and their peers leave.
  for (int i = 0; i < 60; ++i) {
    steady_ += absl::Seconds(10) + absl::Milliseconds(20);
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
