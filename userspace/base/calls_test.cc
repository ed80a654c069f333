#include "base/calls.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

#include "base/clock.h"

namespace wicket {
namespace {

TEST(CallsTest, RunInOrderABoundedNumberAtATime) {
  Calls calls;
  std::vector<int> ran;
  for (int i = 0; i < 5; ++i) calls.Leave([&ran, i] { ran.push_back(i); });
  EXPECT_TRUE(calls.Serve(2, absl::InfiniteDuration()));
  EXPECT_EQ(ran, (std::vector<int>{0, 1}));
  calls.Leave([&ran] { ran.push_back(5); });
  EXPECT_FALSE(calls.Serve(10, absl::InfiniteDuration()));
  EXPECT_EQ(ran, (std::vector<int>{0, 1, 2, 3, 4, 5}));
  EXPECT_FALSE(calls.Serve(10, absl::InfiniteDuration()));
}

TEST(CallsTest, ABudgetEndsAServingAfterOneCall) {
  Calls calls;
  int ran = 0;
  for (int i = 0; i < 3; ++i) calls.Leave([&ran] { ++ran; });
  EXPECT_TRUE(calls.Serve(10, -absl::Seconds(1)));
  EXPECT_EQ(ran, 1) << "one call is always served, so none waits for ever";
}

TEST(CallsTest, AnOwnerThatHangsHoldsNoCallerForLongerThanItsPatience) {
  Calls calls;
  EXPECT_EQ(calls.Ask([] { return 7; }, absl::ZeroDuration()), std::nullopt);
  calls.Serve(10, absl::InfiniteDuration());  // runs the late call, which does no harm
  std::atomic<bool> stop{false};
  std::thread owner([&] {
    while (!stop) calls.Serve(1, absl::ZeroDuration());
  });
  EXPECT_EQ(calls.Ask([] { return 7; }, absl::Minutes(1)), 7);
  stop = true;
  owner.join();
}

TEST(CallsTest, WhoAsksAnOwnerThatEndsIsToldAtOnce) {
  Calls calls;
  std::thread asks([&] {
    EXPECT_EQ(calls.Ask([] { return 7; }, absl::Hours(1)), std::nullopt);
    EXPECT_EQ(calls.Ask([] { return 7; }, absl::Hours(1)), std::nullopt) << "after the end";
  });
  pollfd left{calls.wake_fd(), POLLIN, 0};
  poll(&left, 1, -1);
  calls.Close();
  asks.join();
  bool ran = false;
  calls.Leave([&ran] { ran = true; });
  EXPECT_FALSE(calls.Serve(10, absl::InfiniteDuration()));
  EXPECT_FALSE(ran);
}

TEST(CallsTest, ManyCallersLoseNothing) {
  Calls calls;
  std::atomic<bool> stop{false};
  uint64_t sum = 0;
  std::thread owner([&] {
    while (!stop || calls.Serve(16, absl::Milliseconds(1))) calls.Serve(16, absl::Milliseconds(1));
  });
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      for (uint64_t i = 1; i <= 1000; ++i) calls.Leave([&sum, i] { sum += i; });
    });
  }
  for (std::thread& caller : callers) caller.join();
  stop = true;
  owner.join();
  EXPECT_EQ(sum, 4 * 500'500u);
}

}  // namespace
}  // namespace wicket
