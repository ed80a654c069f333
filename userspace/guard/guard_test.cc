#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "guard/budget.h"
#include "guard/repeat_filter.h"
#include "guard/replay.h"

namespace wicket::guard {
namespace {

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

Tai64n StampAt(absl::Time time) { return ToTai64n(time); }

TEST(ReplayTest, OnlyLaterStampsAreFresh) {
  StampMark mark;
  EXPECT_TRUE(IsFresh(mark, StampAt(kNow), kNow));
  mark = Accept(mark, StampAt(kNow), kNow);
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow), kNow));
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow - absl::Nanoseconds(1)), kNow));
  EXPECT_TRUE(IsFresh(mark, StampAt(kNow + absl::Nanoseconds(1)), kNow));
}

TEST(ReplayTest, AWrongClockLocksNobodyOutForMoreThanTenMinutes) {
  StampMark mark = Accept({}, StampAt(kNow + absl::Hours(24 * 3650)), kNow);
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow + absl::Seconds(5)), kNow + absl::Seconds(5)));
  const absl::Time later = kNow + kFutureMax + absl::Seconds(1);
  EXPECT_TRUE(IsFresh(mark, StampAt(later), later));
  // The packet from the future is still a replay.
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow + absl::Hours(24 * 3650)), later));
  mark = Accept(mark, StampAt(later), later);
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow + absl::Hours(24 * 3650)), later + absl::Hours(24)));
}

TEST(ReplayTest, AClientWithAFastClockKeepsConnecting) {
  StampMark mark;
  for (int i = 0; i < 10; ++i) {
    const absl::Time now = kNow + absl::Seconds(120 * i);
    const Tai64n stamp = StampAt(now + absl::Hours(1000));
    ASSERT_TRUE(IsFresh(mark, stamp, now));
    mark = Accept(mark, stamp, now);
    EXPECT_FALSE(IsFresh(mark, stamp, now));
  }
}

TEST(ReplayTest, TheGatewaysOwnClockMayJumpBack) {
  StampMark mark = Accept({}, StampAt(kNow), kNow);
  const absl::Time wrong = kNow - absl::Hours(24 * 3650);
  EXPECT_TRUE(IsFresh(mark, StampAt(kNow + absl::Seconds(5)), wrong));
  mark = Accept(mark, StampAt(kNow + absl::Seconds(5)), wrong);
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow + absl::Seconds(5)), wrong));
}

TEST(ReplayTest, AMarkDoesNotExpire) {
  const StampMark mark = Accept({}, StampAt(kNow), kNow);
  for (const int days : {1, 31, 365, 36500}) {
    EXPECT_FALSE(IsFresh(mark, StampAt(kNow), kNow + absl::Hours(24 * days))) << days;
  }
}

// A gateway without a battery-backed clock, which starts ten years in the past.
TEST(ReplayTest, NothingAcceptedUnderAClockThatWasBehindIsGoodOnceItIsRight) {
  const absl::Time behind = kNow - absl::Hours(24 * 3650);
  StampMark mark;
  for (int i = 0; i < 3; ++i) {
    const Tai64n stamp = StampAt(kNow + absl::Seconds(120 * i));
    ASSERT_TRUE(IsFresh(mark, stamp, behind + absl::Seconds(120 * i)));
    mark = Accept(mark, stamp, behind + absl::Seconds(120 * i));
  }
  const absl::Time right = kNow + absl::Seconds(300);
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(IsFresh(mark, StampAt(kNow + absl::Seconds(120 * i)), right)) << i;
  }
  EXPECT_TRUE(IsFresh(mark, StampAt(right), right));
  // Corrected only half of the way, it is refused as well.
  EXPECT_FALSE(IsFresh(AfterForwardStep(mark, kNow + absl::Seconds(60)), StampAt(kNow),
                       kNow + absl::Seconds(60)));
}

// A peer whose last handshake before it left was made while the gateway's clock was ahead.
TEST(ReplayTest, AClockThatWasAheadLocksNobodyOutForMoreThanTenMinutes) {
  const StampMark mark = Accept({}, StampAt(kNow), kNow);
  for (const absl::Duration ahead :
       {absl::Minutes(5), absl::Hours(1), absl::Hours(24), absl::Hours(87600)}) {
    const absl::Time handshake = kNow + absl::Minutes(2) + ahead;
    const absl::Time later = kNow + absl::Minutes(13);
    EXPECT_TRUE(IsFresh(AdvanceTo(mark, handshake, later), StampAt(later), later)) << ahead;
  }
}

TEST(ReplayTest, APeerThatNobodyWatchedGetsAMarkFromItsHandshake) {
  const StampMark mark = AdvanceTo({}, kNow - absl::Seconds(20), kNow);
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow - absl::Seconds(20)), kNow));
  EXPECT_TRUE(IsFresh(mark, StampAt(kNow), kNow));
  EXPECT_EQ(AdvanceTo({}, absl::UnixEpoch(), kNow).accepted, absl::UnixEpoch()) << "it made none";
}

TEST(ReplayTest, AdvanceByGoesByTheSteadyClock) {
  const StampMark mark = Accept({}, StampAt(kNow), kNow);
  // In between, the wall clock was set back by ten years.
  const absl::Time wrong = kNow - absl::Hours(87600);
  const StampMark advanced = AdvanceBy(mark, absl::Minutes(2), wrong);
  EXPECT_FALSE(IsFresh(advanced, StampAt(kNow + absl::Minutes(2)), kNow + absl::Minutes(3)));
  EXPECT_TRUE(IsFresh(advanced, StampAt(kNow + absl::Minutes(3)), kNow + absl::Minutes(3)));
}

// A client's clock is an hour slow. It makes a handshake through the gateway, and another with the
// kernel two minutes later. Once it has left the kernel the second is refused too, however long the
// first was in flight.
TEST(ReplayTest, TheMarkAdvancesOverHandshakesTheKernelSaw) {
  const absl::Duration slow = absl::Hours(1);
  const Tai64n unseen = StampAt(kNow - slow + absl::Seconds(120));
  for (const int delay_ms : {0, 1, 300, 4900}) {
    StampMark mark = Accept({}, StampAt(kNow - slow), kNow + absl::Milliseconds(delay_ms));
    EXPECT_TRUE(IsFresh(mark, unseen, kNow + absl::Seconds(500)));
    mark = AdvanceTo(mark, kNow + absl::Seconds(120) + absl::Milliseconds(1),
                     kNow + absl::Seconds(500));
    EXPECT_FALSE(IsFresh(mark, unseen, kNow + absl::Seconds(500))) << delay_ms;
    EXPECT_TRUE(
        IsFresh(mark, StampAt(kNow - slow + absl::Seconds(301)), kNow + absl::Seconds(301)));
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
                                    absl::Hours(87600)};
    const absl::Duration size = sizes[random() % 4];
    return random() % 2 ? size : -size;
  };
  int accepted_count = 0;
  for (int run = 0; run < 300; ++run) {
    StampMark mark;
    std::set<Tai64n> accepted, from_the_future;
    absl::Time right = kNow, forward_step = absl::InfinitePast();
    absl::Duration gateway_off, client_off;
    const bool client_jumps = run % 2;
    for (int step = 0; step < 100; ++step) {
      right += absl::Seconds(static_cast<int64_t>(random() % 300) + 1);
      if (random() % 20 == 0) {
        const absl::Duration before = gateway_off;
        gateway_off = random() % 2 ? absl::ZeroDuration() : jump();
        const absl::Duration by = gateway_off - before;
        if (by > absl::ZeroDuration()) {
          forward_step = right + gateway_off;
          if (!client_jumps) from_the_future.clear();  // none may become valid by that
        }
        if (by < absl::ZeroDuration()) forward_step += by;
      }
      if (client_jumps && random() % 20 == 0)
        client_off = random() % 2 ? absl::ZeroDuration() : jump();
      const absl::Time now = right + gateway_off;
      Tai64n stamp = StampAt(right + client_off);
      if (!accepted.empty() && random() % 2) {
        stamp = *std::next(accepted.begin(), static_cast<ptrdiff_t>(random() % accepted.size()));
      }
      const StampMark before =
          mark.accepted < forward_step ? AfterForwardStep(mark, forward_step) : mark;
      if (!IsFresh(before, stamp, now)) continue;
      ++accepted_count;
      EXPECT_TRUE(accepted.insert(stamp).second || from_the_future.count(stamp)) << run;
      if (IsFromTheFuture(stamp, now)) from_the_future.insert(stamp);
      mark = Accept(before, stamp, now);
    }
    // From here on all clocks are right.
    if (gateway_off > absl::ZeroDuration()) forward_step -= gateway_off;
    if (gateway_off < absl::ZeroDuration()) forward_step = right;
    if (client_jumps) continue;
    right += kFutureMax + absl::Seconds(1);
    if (mark.accepted < forward_step) mark = AfterForwardStep(mark, forward_step);
    EXPECT_TRUE(IsFresh(mark, StampAt(right), right)) << run;
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
