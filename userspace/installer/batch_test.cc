// A batch of demands, and the upkeep between two batches, on a store in a folder of its own and a
// device in memory. Nothing is given back: no NIC is there, so the clients try again.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <time.h>

#include <filesystem>
#include <map>
#include <optional>
#include <set>
#include <vector>
#include <utility>

#include "base/clock.h"
#include "installer/batch.h"
#include "installer/upkeep.h"

namespace wicket::installer {
namespace {

constexpr uint16_t kPort = 51820;

PublicKey Key(int n) {
  PublicKey key;
  key.bytes[0] = static_cast<uint8_t>(n);
  return key;
}

Endpoint Source(int n) { return *ParseEndpoint(absl::StrCat("192.0.2.", n, ":4000")); }

std::optional<uint32_t> NothingWaits(uint64_t /*now_ns*/) { return 0; }

// What the device of a test holds; outlives the device that the installer closes.
struct Contents {
  std::map<PublicKey, wgdev::PeerStats> peers;
  std::set<PublicKey> refused;  // no such peer can be installed
  std::set<PublicKey> without_keepalive;
  int removals = 0;
  bool gone = false;
  bool mute = false;     // no dump begins
  bool endless = false;  // a dump has always more to come
};

class MemoryDump : public wgdev::Dump {
 public:
  explicit MemoryDump(const Contents* contents) : contents_(contents) {}
  absl::StatusOr<bool> Next(std::vector<wgdev::PeerStats>* peers) override {
    for (const auto& [key, stats] : contents_->peers) peers->push_back(stats);
    return contents_->endless;
  }
  bool interrupted() const override { return false; }
  PublicKey public_key() const override { return Key(200); }
  uint16_t listen_port() const override { return kPort; }

 private:
  const Contents* contents_;
};

class MemoryDevice : public wgdev::Device {
 public:
  explicit MemoryDevice(Contents* contents) : contents_(contents) {}
  absl::StatusOr<wgdev::DeviceInfo> ReadInfo() override {
    return wgdev::DeviceInfo{.listen_port = kPort, .public_key = Key(200), .private_key = {}};
  }
  std::vector<absl::Status> Install(std::span<const wgdev::PeerInstall> peers) override {
    std::vector<absl::Status> results;
    for (const wgdev::PeerInstall& peer : peers) {
      const PublicKey& key = peer.config->public_key;
      if (contents_->gone) {
        results.push_back(absl::NotFoundError("gone"));
      } else if (contents_->refused.contains(key)) {
        results.push_back(absl::InvalidArgumentError("refused"));
      } else {
        contents_->peers.try_emplace(key).first->second = {
            .public_key = key, .digest = wgdev::DigestOf(*peer.config, peer.hold_keepalive)};
        if (peer.hold_keepalive) contents_->without_keepalive.insert(key);
        results.push_back(absl::OkStatus());
      }
    }
    return results;
  }
  std::vector<absl::Status> SetKeepalives(std::span<const PeerConfig* const> peers) override {
    for (const PeerConfig* peer : peers) {
      contents_->without_keepalive.erase(peer->public_key);
      contents_->peers.at(peer->public_key).digest = wgdev::DigestOf(*peer);
    }
    return std::vector<absl::Status>(peers.size());
  }
  std::vector<absl::Status> Remove(std::span<const PublicKey> peers) override {
    for (const PublicKey& key : peers) contents_->peers.erase(key);
    contents_->removals += static_cast<int>(peers.size());
    return std::vector<absl::Status>(peers.size());
  }
  absl::StatusOr<std::unique_ptr<wgdev::Dump>> StartDump() override {
    if (contents_->gone) return absl::NotFoundError("gone");
    if (contents_->mute) return absl::UnavailableError("mute");
    return std::make_unique<MemoryDump>(contents_);
  }
  absl::string_view backend() const override { return "memory"; }

 private:
  Contents* contents_;
};

class BatchTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/wicket-batch-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    path_ = name;
    store_.emplace(*store::Store::Open({.path = path_ + "/db", .bytes_max = 1 << 24}));
    committer_.emplace(&*store_);
    saver_.emplace(&*committer_);
    Options options;
    options.name = "wg0";
    state_.emplace(options, Surroundings{.store = &*store_,
                                         .committer = &*committer_,
                                         .saver = &*saver_,
                                         .flows =
                                             [this](const FlowChange& flow, uint16_t port) {
                                               EXPECT_EQ(port, kPort);
                                               flows_[flow.source] = flow.known;
                                               return absl::OkStatus();
                                             },
                                         .events = &events_,
                                         .turns = &turns_,
                                         .gateway = nullptr});
    state_->snapshot = *store_->NewSnapshot();
    state_->snapshot->Release();
    state_->hand.Take(std::make_unique<MemoryDevice>(&contents_));
    state_->hand.SetKeys(Key(200), kPort);
    upkeep_.emplace(&*state_);
    batch_.emplace(&*state_, &upkeep_->census());
    batch_->queues().Add(queue_);
    // As many at once as the device of a fast machine answers.
    batch_->returner().SetPacer(std::make_unique<reinject::Pacer>(
        reinject::Pace{.interval_ns = 1, .burst = 256}, &NothingWaits, &turns_));
  }
  void TearDown() override {
    batch_.reset();
    upkeep_.reset();
    state_.reset();
    saver_.reset();
    committer_.reset();
    store_.reset();
    std::filesystem::remove_all(path_);
  }

  void Put(int n, uint16_t keepalive_s = 0) {
    store::Peer peer;
    peer.config.public_key = Key(n);
    peer.config.persistent_keepalive_s = keepalive_s;
    peer.device = "wg0";
    ASSERT_TRUE(
        committer_->Commit([&](store::Writer& writer) { return writer.PutPeer(peer); }).ok());
  }
  void Delete(int n) {
    ASSERT_TRUE(
        committer_->Commit([&](store::Writer& writer) { return writer.DeletePeer(Key(n)); }).ok());
  }
  // An initiation of peer `n`, whose timestamp is later by `later` than those of others.
  // `from`: the source's number; 0: `n`.
  void Demand(int n, absl::Duration later = {}, uint64_t seen_ns = SteadyNanos(), int from = 0,
              bool source_proven = true) {
    intake::Demand* demand = queue_->Reserve();
    ASSERT_NE(demand, nullptr);
    *demand = {.public_key = Key(n),
               .stamp = ToTai64n(began_ + later),
               .source = Source(from != 0 ? from : n),
               .seen_ns = seen_ns,
               .source_proven = source_proven,
               .frame = {}};
    queue_->Submit();
  }
  uint64_t Read(Count count) const { return state_->journal.Read(count); }
  // Runs the upkeep until `done`; a minute is longer than that ever takes.
  bool StepUntil(const std::function<bool()>& done) {
    for (const absl::Duration end = SteadyNow() + absl::Minutes(1); SteadyNow() < end;) {
      if (done()) return true;
      if (!upkeep_->Step({})) return false;
      absl::SleepFor(absl::Milliseconds(2));
    }
    return false;
  }

  std::string path_;
  const absl::Time began_ = WallNow();
  std::optional<store::Store> store_;
  std::optional<store::Committer> committer_;
  std::optional<SessionSaver> saver_;
  event::EventLog events_;
  reinject::TurnClock turns_;
  Contents contents_;
  std::map<Endpoint, bool> flows_;  // those that changed; whether they are known
  std::shared_ptr<intake::DemandQueue> queue_ =
      std::make_shared<intake::DemandQueue>(intake::kDemandQueueCapacity);
  std::optional<State> state_;
  std::optional<Upkeep> upkeep_;
  std::optional<Batch> batch_;
};

TEST_F(BatchTest, StoredPeersAreInstalledAndOthersAreNot) {
  Put(1);
  Put(2);
  for (int n = 1; n <= 3; ++n) Demand(n);
  EXPECT_EQ(batch_->Gather(), 3u);
  EXPECT_TRUE(batch_->Run());
  EXPECT_EQ(contents_.peers.size(), 2u);
  EXPECT_EQ(state_->residents.size(), 2u);
  EXPECT_EQ(Read(Count::kInstalls), 2u);
  EXPECT_EQ(Read(Count::kGone), 1u) << "deleted since its proof";
  EXPECT_TRUE(flows_.at(Source(1)));
  EXPECT_FALSE(flows_.contains(Source(3)));
  EXPECT_EQ(state_->residents.Find(Key(1))->session.endpoint, Source(1));
}

TEST_F(BatchTest, OfSeveralInitiationsOfAPeerTheNewestCounts) {
  Put(1);
  Demand(1, absl::Seconds(2));
  Demand(1, absl::Seconds(1));  // older: a replay
  Demand(1, absl::Seconds(3));
  EXPECT_EQ(batch_->Gather(), 1u);
  EXPECT_TRUE(batch_->Run());
  EXPECT_EQ(Read(Count::kInstalls), 1u);
  EXPECT_EQ(Read(Count::kReplays), 1u);
  EXPECT_EQ(state_->residents.Find(Key(1))->session.mark.exact,
            ToTai64n(began_ + absl::Seconds(3)));
  Demand(1, absl::Seconds(3));
  batch_->Gather();
  EXPECT_EQ(Read(Count::kReplays), 2u) << "nothing is accepted twice";
}

TEST_F(BatchTest, ANewerInitiationFromAnotherSourceIsJudgedByItsOwn) {
  Put(1);
  Demand(1);
  Demand(1, absl::Seconds(2), SteadyNanos(), 2, true);
  EXPECT_EQ(batch_->Gather(), 1u);
  ASSERT_TRUE(batch_->Run());
  EXPECT_EQ(state_->residents.Find(Key(1))->session.endpoint, Source(2));
}

TEST_F(BatchTest, ANewerInitiationThatIsRefusedLeavesTheOlder) {
  state_->options.probation_max = 1;  // the older has the place
  Put(1);
  Demand(1);
  Demand(1, absl::Seconds(2), SteadyNanos(), 2, false);
  EXPECT_EQ(batch_->Gather(), 1u);
  ASSERT_TRUE(batch_->Run());
  EXPECT_EQ(state_->residents.Find(Key(1))->session.endpoint, Source(1));
  EXPECT_EQ(Read(Count::kProbationFull), 1u);
}

TEST_F(BatchTest, APeerThatTheDeviceRefusesIsTakenOutAgain) {
  Put(1);
  Put(2);
  contents_.refused = {Key(1)};
  for (int n = 1; n <= 2; ++n) Demand(n);
  batch_->Gather();
  EXPECT_TRUE(batch_->Run());
  EXPECT_EQ(Read(Count::kInstallErrors), 1u);
  EXPECT_EQ(contents_.removals, 1) << "it may be there in half";
  EXPECT_EQ(state_->residents.Find(Key(1)), nullptr);
  EXPECT_FALSE(flows_.contains(Source(1)));
  EXPECT_NE(state_->residents.Find(Key(2)), nullptr);
}

TEST_F(BatchTest, ADeviceThatIsGoneEndsTheBatch) {
  Put(1);
  contents_.gone = true;
  Demand(1);
  EXPECT_EQ(batch_->Gather(), 1u);
  EXPECT_FALSE(batch_->Run());
  EXPECT_EQ(state_->residents.size(), 0u);
  EXPECT_FALSE(upkeep_->Step({}));
  state_->hand.Drop();
  Demand(1, absl::Seconds(1));
  EXPECT_EQ(batch_->Gather(), 0u);
  EXPECT_EQ(queue_->Size(), 0u) << "while the device is away, demands are dropped";
}

TEST_F(BatchTest, OnlyDemandsWhoseClientsHaveGivenUpAreDropped) {
  Put(1);
  Put(2);
  Demand(1, {}, SteadyNanos() - 3'000'000'000);
  Demand(2, {}, SteadyNanos());
  batch_->DropLate();
  EXPECT_EQ(Read(Count::kTooLate), 1u);
  EXPECT_EQ(batch_->Gather(), 1u);
  EXPECT_TRUE(batch_->Run());
  EXPECT_TRUE(contents_.peers.contains(Key(2)));
}

TEST_F(BatchTest, ABatchIsBoundedAndTheRestWaits) {
  for (int n = 1; n <= 100; ++n) Demand(n);
  EXPECT_EQ(batch_->Gather(), 64u);
  EXPECT_EQ(batch_->Gather(), 36u);
  EXPECT_EQ(batch_->Gather(), 0u);
}

// --- upkeep -----------------------------------------------------------------

using UpkeepTest = BatchTest;

TEST_F(UpkeepTest, ASessionIsConfirmedGetsItsKeepaliveAndIsSaved) {
  Put(1, 25);
  Demand(1);
  batch_->Gather();
  ASSERT_TRUE(batch_->Run());
  EXPECT_TRUE(contents_.without_keepalive.contains(Key(1)));
  ASSERT_TRUE(StepUntil([&] { return upkeep_->dumped_ns() != 0; }));
  EXPECT_TRUE(upkeep_->surveyed());
  EXPECT_FALSE(upkeep_->has_other_keys());
  EXPECT_FALSE(state_->residents.Find(Key(1))->confirmed);
  contents_.peers[Key(1)].last_handshake = WallNow();
  contents_.peers[Key(1)].endpoint = Source(1);
  ASSERT_TRUE(StepUntil([&] { return contents_.without_keepalive.empty(); }));
  EXPECT_TRUE(state_->residents.Find(Key(1))->confirmed);
  ASSERT_TRUE(StepUntil([&] { return store_->NewSnapshot()->FindSession(Key(1)).has_value(); }));
  EXPECT_EQ(store_->NewSnapshot()->FindSession(Key(1))->endpoint, Source(1));
}

TEST_F(UpkeepTest, ADeviceThatCannotBeDumpedIsCountedAndNobodyWaitsForIt) {
  contents_.mute = true;
  ASSERT_TRUE(StepUntil([&] { return Read(Count::kDumpErrors) > 0; }));
  EXPECT_TRUE(upkeep_->surveyed()) << "newcomers are judged all the same";
  EXPECT_EQ(upkeep_->dumped_ns(), 0u);
  contents_.mute = false;
  EXPECT_TRUE(StepUntil([&] { return upkeep_->dumped_ns() != 0; }));
}

TEST_F(UpkeepTest, SessionsAreSavedWhileADumpIsUnderWay) {
  Put(1);
  contents_.endless = true;
  ASSERT_TRUE(StepUntil([&] { return state_->hand.dump() != nullptr; }));
  Demand(1);
  batch_->Gather();
  ASSERT_TRUE(batch_->Run());
  EXPECT_TRUE(StepUntil([&] { return store_->NewSnapshot()->FindSession(Key(1)).has_value(); }));
  EXPECT_NE(state_->hand.dump(), nullptr);
}

TEST_F(UpkeepTest, ADeletedPeerLeavesAndItsFlowIsForgotten) {
  Put(1);
  Put(2);
  for (int n = 1; n <= 2; ++n) Demand(n);
  batch_->Gather();
  ASSERT_TRUE(batch_->Run());
  Delete(1);
  ASSERT_TRUE(StepUntil([&] { return !contents_.peers.contains(Key(1)); }));
  EXPECT_TRUE(contents_.peers.contains(Key(2)));
  EXPECT_FALSE(flows_.at(Source(1)));
  EXPECT_TRUE(flows_.at(Source(2)));
  EXPECT_EQ(state_->residents.Find(Key(1)), nullptr);
  EXPECT_EQ(Read(Count::kEvictedRevoked), 1u);
}

TEST_F(UpkeepTest, ADevicesOtherKeyIsSeenInItsDump) {
  state_->hand.SetKeys(Key(201), kPort);
  ASSERT_TRUE(StepUntil([&] { return upkeep_->has_other_keys(); }));
  upkeep_->Clear();
  EXPECT_FALSE(upkeep_->has_other_keys());
  EXPECT_FALSE(upkeep_->surveyed());
}

}  // namespace
}  // namespace wicket::installer
