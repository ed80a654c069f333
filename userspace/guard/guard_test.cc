#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <map>
#include <vector>

#include "base/clock_fixture.h"
#include "guard/budget.h"
#include "guard/repeat_filter.h"
#include "guard/replay.h"

namespace wicket::guard {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);
constexpr absl::Duration kTenYears = absl::Hours(87600);

Tai64n StampAt(absl::Time time) { return ToTai64n(time); }

TEST(ReplayTest, OnlyLaterStampsAreFresh) {
  StampMark mark;
  EXPECT_TRUE(IsFresh(mark, StampAt(kNow), At(kNow)));
  mark = Accept(mark, StampAt(kNow), At(kNow));
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow), At(kNow)));
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow - absl::Nanoseconds(1)), At(kNow)));
  EXPECT_TRUE(IsFresh(mark, StampAt(kNow + absl::Nanoseconds(1)), At(kNow)));
}

TEST(ReplayTest, AWrongClockLocksNobodyOutForMoreThanTenMinutes) {
  const Tai64n wrong = StampAt(kNow + kTenYears);
  StampMark mark = Accept({}, wrong, At(kNow));
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow + absl::Seconds(5)), At(kNow + absl::Seconds(5))));
  const absl::Time later = kNow + kFutureMax + absl::Seconds(1);
  EXPECT_TRUE(IsFresh(mark, StampAt(later), At(later)));
  // The packet from the future is still a replay.
  EXPECT_FALSE(IsFresh(mark, wrong, At(later)));
  mark = Accept(mark, StampAt(later), At(later));
  EXPECT_FALSE(IsFresh(mark, wrong, At(later + absl::Hours(24))));
}

// A client of a wrong time zone was corrected; then a time daemon of ours steps by two seconds.
TEST(ReplayTest, ASmallStepOfOurClockIsNotTakenForTheReasonOfALargeLead) {
  const StampMark mark = Accept({}, StampAt(kNow + absl::Hours(8)), At(kNow));
  const absl::Time later = kNow + kFutureMax + absl::Seconds(5);
  EXPECT_TRUE(IsFresh(mark, StampAt(later), At(later, absl::Seconds(2))));
}

TEST(ReplayTest, AClientWithAFastClockKeepsConnecting) {
  StampMark mark;
  for (int i = 0; i < 10; ++i) {
    const absl::Time now = kNow + absl::Seconds(120 * i);
    const Tai64n stamp = StampAt(now + absl::Hours(1000));
    ASSERT_TRUE(IsFresh(mark, stamp, At(now)));
    mark = Accept(mark, stamp, At(now));
    EXPECT_FALSE(IsFresh(mark, stamp, At(now)));
  }
}

TEST(ReplayTest, TheGatewaysOwnClockMayJumpBack) {
  StampMark mark = Accept({}, StampAt(kNow), At(kNow));
  const Instant wrong = At(kNow + absl::Seconds(5) - kTenYears, -kTenYears);
  EXPECT_TRUE(IsFresh(mark, StampAt(kNow + absl::Seconds(5)), wrong));
  mark = Accept(mark, StampAt(kNow + absl::Seconds(5)), wrong);
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow + absl::Seconds(5)), wrong));
}

TEST(ReplayTest, AMarkDoesNotExpire) {
  const StampMark mark = Accept({}, StampAt(kNow), At(kNow));
  for (const int days : {1, 31, 365, 36500}) {
    EXPECT_FALSE(IsFresh(mark, StampAt(kNow), At(kNow + absl::Hours(24 * days)))) << days;
  }
}

// A gateway without a battery-backed clock, which starts ten years in the past.
TEST(ReplayTest, NothingAcceptedUnderAClockThatWasBehindIsGoodOnceItIsRight) {
  StampMark mark;
  for (int i = 0; i < 3; ++i) {
    const absl::Time right = kNow + absl::Seconds(120 * i);
    const Instant behind = At(right - kTenYears, -kTenYears);
    ASSERT_TRUE(IsFresh(mark, StampAt(right), behind));
    mark = Accept(mark, StampAt(right), behind);
  }
  const absl::Time right = kNow + absl::Seconds(300);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(IsFresh(mark, StampAt(kNow + absl::Seconds(120 * i)), At(right))) << i;
  }
  EXPECT_TRUE(IsFresh(mark, StampAt(right), At(right)));
  // Corrected all but four minutes, it is refused as well.
  const Instant nearly = At(right - absl::Minutes(4), -absl::Minutes(4));
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow), nearly));
}

TEST(ReplayTest, AnotherBootIsJudgedByTheWallClockAlone) {
  StampMark mark = Accept({}, StampAt(kNow), At(kNow - absl::Hours(1)));
  Instant later = At(kNow + absl::Minutes(1), absl::Hours(5));
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow), later)) << "a step, of one boot";
  later.boot = 2;
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow), later));
  EXPECT_TRUE(IsFresh(mark, StampAt(kNow + absl::Minutes(1)), later));
  mark = AdvanceTo(mark, later, later);
  EXPECT_EQ(mark.accepted.boot, 2u);
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow + absl::Hours(1) + absl::Minutes(1)), later));
}

TEST(ReplayTest, APeerThatNobodyWatchedGetsAnEstimateThatFollowsTheClock) {
  // It made a handshake at kNow; the gateway's clock is an hour ahead, and is then corrected.
  const Instant ahead = At(kNow + absl::Hours(1), absl::Hours(1));
  const StampMark mark = AdvanceTo({}, ahead, ahead);
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow), ahead));
  const absl::Time later = kNow + absl::Minutes(1);
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow), At(later)));
  EXPECT_TRUE(IsFresh(mark, StampAt(later), At(later)));
  // It was right, and is then set back: the packet stays refused.
  const StampMark right = AdvanceTo({}, At(kNow), At(kNow));
  EXPECT_FALSE(IsFresh(right, StampAt(kNow), At(later - absl::Hours(1), -absl::Hours(1))));
  EXPECT_TRUE(IsFresh(right, StampAt(later), At(later - absl::Hours(1), -absl::Hours(1))));
  // It was behind, and is then corrected.
  const Instant behind = At(kNow - kTenYears, -kTenYears);
  EXPECT_FALSE(IsFresh(AdvanceTo({}, behind, behind), StampAt(kNow), At(later)));
}

TEST(ReplayTest, AMarkAdvancesByTheClockThatNobodySets) {
  const StampMark mark = Accept({}, StampAt(kNow), At(kNow));
  // In between, the wall clock was set back by ten years.
  const Instant wrong = At(kNow + absl::Minutes(2) - kTenYears, -kTenYears);
  const StampMark advanced = AdvanceTo(mark, wrong, wrong);
  const absl::Time later = kNow + absl::Minutes(3);
  EXPECT_FALSE(IsFresh(advanced, StampAt(kNow + absl::Minutes(2)), At(later)));
  EXPECT_TRUE(IsFresh(advanced, StampAt(later), At(later)));
}

// A gateway that is restarted every second adopts the peer each time.
TEST(ReplayTest, TheExcessOfAMarkDoesNotAddUp) {
  StampMark mark = Accept({}, StampAt(kNow), At(kNow));
  absl::Time now = kNow;
  for (int i = 0; i < 1000; ++i) {
    now += absl::Seconds(1);
    mark = AdvanceTo(mark, At(now), At(now));
  }
  now += absl::Seconds(6);
  EXPECT_TRUE(IsFresh(mark, StampAt(now), At(now)));
}

// A client's clock is an hour slow. It makes a handshake through the gateway, and another with the
// kernel two minutes later. Once it has left the kernel the second is refused too, however long the
// first was in flight.
TEST(ReplayTest, TheMarkAdvancesOverHandshakesTheKernelSaw) {
  const absl::Duration slow = absl::Hours(1);
  const Tai64n unseen = StampAt(kNow - slow + absl::Seconds(120));
  const Instant now = At(kNow + absl::Seconds(500));
  for (const int delay_ms : {0, 1, 300, 4900}) {
    StampMark mark = Accept({}, StampAt(kNow - slow), At(kNow + absl::Milliseconds(delay_ms)));
    EXPECT_TRUE(IsFresh(mark, unseen, now));
    mark = AdvanceTo(mark, At(kNow + absl::Seconds(120) + absl::Milliseconds(1)), now);
    EXPECT_FALSE(IsFresh(mark, unseen, now)) << delay_ms;
    EXPECT_TRUE(
        IsFresh(mark, StampAt(kNow - slow + absl::Seconds(301)), At(kNow + absl::Seconds(301))));
  }
}

// Random initiations and replays against a list of all that were accepted, while the clocks of
// gateway and client jump by seconds to years. Nothing is accepted twice, except in the gap that
// replay.h states: stamps of a client that set its clock back while it was ahead of the gateway's.
// Once both clocks are right, the client is let in within ten minutes.
TEST(ReplayTest, NothingIsAcceptedTwiceAndNobodyLockedOut) {
  std::mt19937_64 random(11);
  const auto jump = [&random] {
    const absl::Duration sizes[] = {absl::Seconds(30), absl::Minutes(20), absl::Hours(30),
                                    kTenYears};
    const absl::Duration size = sizes[random() % 4];
    return random() % 2 ? size : -size;
  };
  int accepted_count = 0;
  for (int run = 0; run < 300; ++run) {
    StampMark mark;
    std::map<Tai64n, Instant> accepted;
    absl::Time right = kNow;
    absl::Duration gateway_off, client_off;
    const bool client_jumps = run % 2;
    for (int step = 0; step < 100; ++step) {
      right += absl::Seconds(static_cast<int64_t>(random() % 300) + 1);
      if (random() % 20 == 0) {
        gateway_off = random() % 2 ? absl::ZeroDuration() : jump();
      }
      if (client_jumps && random() % 20 == 0)
        client_off = random() % 2 ? absl::ZeroDuration() : jump();
      const Instant now = At(right + gateway_off, gateway_off);
      Tai64n stamp = StampAt(right + client_off);
      if (!accepted.empty() && random() % 2) {
        stamp =
            std::next(accepted.begin(), static_cast<ptrdiff_t>(random() % accepted.size()))->first;
      }
      if (!IsFresh(mark, stamp, now)) continue;
      ++accepted_count;
      const auto [before, first] = accepted.try_emplace(stamp, now);
      // In the gap its own time has come; when only our clock was stepped, not by a forward step.
      const bool gap = IsFromTheFuture(stamp, before->second.wall) &&
                       stamp <= ToTai64n(now.wall + kClockSkewMax) &&
                       (client_jumps || StepBetween(before->second, now) <= absl::ZeroDuration());
      EXPECT_TRUE(first || gap) << run;
      mark = Accept(mark, stamp, now);
    }
    if (client_jumps) continue;
    // From here on all clocks are right.
    right += kFutureMax + absl::Seconds(1);
    EXPECT_TRUE(IsFresh(mark, StampAt(right), At(right))) << run;
  }
  EXPECT_GT(accepted_count, 5000);
}

TEST(RepeatFilterTest, KnowsTheLastPacketsExactly) {
  RepeatFilter filter;
  RepeatFilter::Mac a{}, b{};
  a[0] = b[0] = 7;
  b[15] = 1;  // the same slot
  EXPECT_FALSE(filter.SeenBefore(a));
  EXPECT_TRUE(filter.SeenBefore(a));
  EXPECT_FALSE(filter.SeenBefore(b));
  EXPECT_FALSE(filter.SeenBefore(a));
}

Address Ipv4(uint8_t last) { return {Family::kIpv4, {192, 0, 2, last}}; }

TEST(HandshakeBudgetTest, OneThatSendsWithoutEndDoesNotTakeWhatIsKeptForOthers) {
  HandshakeBudget budget(0x1234);
  budget.SetRate(800);
  uint64_t now_ns = 1'000'000'000'000;
  uint64_t greedy = 0, modest = 0, modest_asked = 0;
  for (int ms = 0; ms < 10'000; ++ms, now_ns += 1'000'000) {
    for (int i = 0; i < 10; ++i) greedy += budget.Take(Ipv4(1), now_ns);
    if (ms % 1000 == 500) {
      ++modest_asked;
      modest += budget.Take(Ipv4(static_cast<uint8_t>(2 + ms / 1000)), now_ns);
    }
  }
  EXPECT_EQ(modest, modest_asked);
  // Ten seconds at seven eighths of the rate, two a second of the rest, and the bursts.
  EXPECT_GE(greedy, 7000u);
  EXPECT_LE(greedy, 7000u + 20 + 2 * 40 + 5);
}

TEST(HandshakeBudgetTest, OneWhoHasAWholeSitesAddressesDoesNotEither) {
  HandshakeBudget budget(0x1234);
  budget.SetRate(800);
  uint64_t now_ns = 1'000'000'000'000;
  int modest = 0;
  const auto from = [](uint8_t site, int subnet) {
    return Address{Family::kIpv6,
                   {0x20, 1, 0xd, 0xb8, 0, site, static_cast<uint8_t>(subnet >> 8),
                    static_cast<uint8_t>(subnet)}};
  };
  for (int ms = 0; ms < 10'000; ++ms, now_ns += 1'000'000) {
    for (int i = 0; i < 10; ++i) budget.Take(from(1, 10 * ms + i), now_ns);
    if (ms % 1000 == 500)
      modest += budget.Take(from(static_cast<uint8_t>(2 + ms / 1000), 1), now_ns);
  }
  EXPECT_EQ(modest, 10);
}

TEST(HandshakeBudgetTest, TheWholeIsNeverExceeded) {
  HandshakeBudget budget(0x1234);
  budget.SetRate(800);
  uint64_t now_ns = 1'000'000'000'000, taken = 0;
  for (int ms = 0; ms < 10'000; ++ms, now_ns += 1'000'000) {
    for (int i = 0; i < 10; ++i) {
      Address source{Family::kIpv6,
                     {0x20, 1, static_cast<uint8_t>(ms), static_cast<uint8_t>(ms >> 8),
                      static_cast<uint8_t>(i)}};
      taken += budget.Take(source, now_ns);
    }
  }
  EXPECT_GE(taken, 7900u);
  EXPECT_LE(taken, 8000u + 2 * 40 + 2);
}

}  // namespace
}  // namespace wicket::guard
