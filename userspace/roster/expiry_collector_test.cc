#include "roster/expiry_collector.h"

#include <algorithm>

#include "roster/roster_fixture.h"

namespace wicket::roster {
namespace {

constexpr absl::Duration kTick = absl::Seconds(1);

// Two clocks that a test moves; each Tick comes a second after the last.
class ExpiryCollectorTest : public RosterTest {
 protected:
  void SetUp() override {
    RosterTest::SetUp();
    collector_ = std::make_unique<ExpiryCollector>(store_.get(), roster_.get());
  }
  void TearDown() override {
    collector_.reset();
    RosterTest::TearDown();
  }

  void PutExpiring(uint64_t first, uint64_t count, absl::Time expires) {
    std::vector<document::PeerRequest> requests;
    for (uint64_t n = first; n < first + count; ++n) {
      requests.push_back(Request(n));
      requests.back().peer.expires = expires;
    }
    ASSERT_TRUE(roster_->PutAll(requests).failed.ok());
  }
  void Step(absl::Duration by, bool noted = true) {
    wall_ += by;
    if (noted) collector_->NoteStep();
  }
  void Run(absl::Duration duration) {
    for (absl::Duration left = duration; left > absl::ZeroDuration(); left -= kTick) {
      steady_ += kTick;
      wall_ += kTick;
      collector_->Tick(steady_, wall_);
      // What was submitted runs before this.
      ASSERT_TRUE(committer_->Commit([](store::Writer&) { return absl::OkStatus(); }).ok());
    }
  }
  void RunUntilStored(uint64_t count) {
    for (int i = 0; i < 1000 && stored_peers() != count; ++i) Run(kTick);
    EXPECT_EQ(stored_peers(), count);
  }

  absl::Duration steady_ = absl::Hours(1);
  absl::Time wall_ = absl::FromUnixSeconds(1'800'000'000);
  std::unique_ptr<ExpiryCollector> collector_;
};

TEST_F(ExpiryCollectorTest, DeletesWhatHasBeenExpiredForTheGrace) {
  PutExpiring(1, 3, wall_ + absl::Minutes(1));
  PutExpiring(10, 1, wall_ + absl::Hours(5));
  PutExpiring(11, 1, absl::InfiniteFuture());
  Events();
  Run(absl::Minutes(10));
  EXPECT_EQ(stored_peers(), 5u) << "expired for nine minutes";
  Run(absl::Minutes(1) + absl::Seconds(2));
  RunUntilStored(2);
  EXPECT_EQ(Events(), std::vector<std::string>(3, "expired"));
  const std::lock_guard lock(devices_.mutex);
  EXPECT_EQ(devices_.later.size(), 3u);
  EXPECT_EQ(devices_.questions, 0) << "no device was waited for";
}

TEST_F(ExpiryCollectorTest, AStepAheadDeletesNobody) {
  PutExpiring(1, 200, wall_ + absl::Hours(24));
  Run(absl::Minutes(20));
  Step(absl::Hours(48));
  Run(absl::Seconds(3));
  Step(-absl::Hours(48));
  Run(absl::Minutes(20));
  EXPECT_EQ(stored_peers(), 200u);
}

// The step comes between the look that would have noted it and the Tick.
TEST_F(ExpiryCollectorTest, AStepThatNobodyHasNotedYetDeletesNobody) {
  PutExpiring(1, 200, wall_ + absl::Hours(24));
  Run(absl::Minutes(20));
  Step(absl::Hours(48), false);
  Run(absl::Seconds(3));
  EXPECT_EQ(stored_peers(), 200u);
}

TEST_F(ExpiryCollectorTest, TenYearsBackAndForthDeleteNobody) {
  constexpr absl::Duration kYears = absl::Hours(24 * 3652);
  PutExpiring(1, 200, wall_ + absl::Hours(24));
  PutExpiring(1000, 1, wall_ - absl::Hours(24) - kYears);
  Run(absl::Minutes(5));
  for (const absl::Duration step : {-kYears, kYears, kYears, -kYears}) {
    Step(step);
    Run(absl::Minutes(9));
  }
  EXPECT_EQ(stored_peers(), 201u) << "each step starts the grace again";
  Run(absl::Minutes(2));
  RunUntilStored(200);
}

TEST_F(ExpiryCollectorTest, AClockThatIsWrongAtTheStartDeletesNobody) {
  PutExpiring(1, 200, wall_ + absl::Hours(24));
  wall_ += absl::Hours(48);
  Run(absl::Minutes(9));
  Step(-absl::Hours(48));
  Run(absl::Minutes(20));
  EXPECT_EQ(stored_peers(), 200u);
}

TEST_F(ExpiryCollectorTest, ManyAreDeletedInSlicesOfABoundedNumber) {
  for (uint64_t first = 0; first < 10'000; first += 1000) {
    PutExpiring(1 + first, 1000, wall_ - absl::Hours(1));
  }
  Run(absl::Minutes(10));
  ASSERT_EQ(stored_peers(), 10'000u);
  size_t told = 0;
  for (int ticks = 0; ticks < 1000 && stored_peers() > 0; ++ticks) {
    const uint64_t before = stored_peers();
    Run(kTick);
    EXPECT_LE(before - stored_peers(),
              2 * ExpiryCollector::kSliceMax * ExpiryCollector::kSlicesPerTick);
    const std::lock_guard lock(devices_.mutex);
    told = devices_.later.size();
  }
  EXPECT_EQ(stored_peers(), 0u);
  EXPECT_GE(told, 9000u);
  collector_.reset();
  EXPECT_EQ(devices_.later.size(), 10'000u);
  EXPECT_LE(*std::max_element(devices_.slices.begin(), devices_.slices.end()),
            ExpiryCollector::kSliceMax);
}

// A Tick comes back while the committer is held up, as it is by a slow disk.
TEST_F(ExpiryCollectorTest, WaitsForNoDiskAndTheDestructorWaitsForTheTransaction) {
  PutExpiring(1, 1, wall_ - absl::Hours(1));
  Run(absl::Minutes(10));
  std::mutex held;
  held.lock();
  committer_->Submit(
      [&](store::Writer&) {
        const std::lock_guard lock(held);
        return absl::OkStatus();
      },
      [](const absl::Status&) {});
  for (int i = 0; i < 10; ++i) {
    steady_ += kTick;
    wall_ += kTick;
    collector_->Tick(steady_, wall_);
  }
  EXPECT_EQ(stored_peers(), 1u);
  held.unlock();
  collector_.reset();
  EXPECT_EQ(stored_peers(), 0u);
  EXPECT_EQ(devices_.later.size(), 1u);
}

TEST_F(ExpiryCollectorTest, TheGraceIsTheCallersToChoose) {
  collector_ = std::make_unique<ExpiryCollector>(store_.get(), roster_.get(), absl::Seconds(2));
  PutExpiring(1, 1, wall_ - absl::Hours(1));
  Run(absl::Seconds(2));
  EXPECT_EQ(stored_peers(), 1u);
  Run(absl::Seconds(1));
  RunUntilStored(0);
}

}  // namespace
}  // namespace wicket::roster
