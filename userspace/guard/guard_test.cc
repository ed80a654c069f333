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
  // The packet from the future stays what it is: a replay.
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

TEST(ReplayTest, TheMarkExpiresAfterThirtyDays) {
  const StampMark mark = Accept({}, StampAt(kNow), kNow);
  EXPECT_FALSE(IsFresh(mark, StampAt(kNow), kNow + kMarkLifetime));
  EXPECT_TRUE(IsFresh(mark, StampAt(kNow), kNow + kMarkLifetime + absl::Seconds(1)));
}

// A client's clock is an hour slow. It handshakes through us and again, past us, two
// minutes later; when it leaves the kernel that one is old too, however long the first
// had been on its way.
TEST(ReplayTest, TheMarkAdvancesOverHandshakesTheKernelSaw) {
  const absl::Duration slow = absl::Hours(1);
  const Tai64n unseen = StampAt(kNow - slow + absl::Seconds(120));
  for (const int delay_ms : {0, 1, 300, 4900}) {
    StampMark mark = Accept({}, StampAt(kNow - slow), kNow + absl::Milliseconds(delay_ms));
    EXPECT_TRUE(IsFresh(mark, unseen, kNow + absl::Seconds(500)));
    mark = AdvanceTo(mark, kNow + absl::Seconds(120) + absl::Milliseconds(1));
    EXPECT_FALSE(IsFresh(mark, unseen, kNow + absl::Seconds(500))) << delay_ms;
    EXPECT_TRUE(
        IsFresh(mark, StampAt(kNow - slow + absl::Seconds(301)), kNow + absl::Seconds(301)));
  }
  EXPECT_EQ(AdvanceTo(StampMark{}, kNow).accepted, absl::UnixEpoch());
}

// Random initiations, replays and clock jumps against a list of all that was
// ever accepted: nothing is accepted twice while the mark lives, unless it came
// from the future (replay.h says what is left there).
TEST(ReplayTest, NothingIsAcceptedTwice) {
  std::mt19937_64 random(11);
  for (int run = 0; run < 200; ++run) {
    StampMark mark;
    std::set<Tai64n> accepted, from_the_future;
    absl::Time now = kNow;
    absl::Time client = kNow;
    for (int step = 0; step < 100; ++step) {
      now += absl::Seconds(static_cast<int64_t>(random() % 600));
      client += absl::Seconds(static_cast<int64_t>(random() % 600));
      if (random() % 20 == 0) client += absl::Hours(static_cast<int64_t>(random() % 2000) - 1000);
      Tai64n stamp = StampAt(client);
      if (!accepted.empty() && random() % 2) {
        stamp = *std::next(accepted.begin(), static_cast<ptrdiff_t>(random() % accepted.size()));
      }
      if (!IsFresh(mark, stamp, now)) continue;
      EXPECT_TRUE(accepted.insert(stamp).second || from_the_future.count(stamp));
      if (IsFromTheFuture(stamp, now)) from_the_future.insert(stamp);
      mark = Accept(mark, stamp, now);
    }
  }
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
  // Ten seconds of seven eighths, two a second of the rest, and the bursts.
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
