#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "reinject/injector.h"
#include "reinject/pacer.h"

namespace wicket::reinject {
namespace {

// Verifies as a receiver does: the sum over pseudo-header and datagram must be 0xffff.
uint32_t ReceiverSum(const std::vector<uint8_t>& frame, size_t ip, size_t udp) {
  std::vector<uint8_t> all;
  const bool v4 = frame[ip] >> 4 == 4;
  const size_t addresses = ip + (v4 ? 12 : 8);
  all.insert(all.end(), frame.begin() + static_cast<ptrdiff_t>(addresses),
             frame.begin() + static_cast<ptrdiff_t>(addresses + (v4 ? 8 : 32)));
  all.insert(all.end(), {0, 17, frame[udp + 4], frame[udp + 5]});
  all.insert(all.end(), frame.begin() + static_cast<ptrdiff_t>(udp), frame.end());
  if (all.size() % 2) all.push_back(0);
  uint32_t sum = 0;
  for (size_t i = 0; i < all.size(); i += 2) sum += static_cast<uint32_t>(all[i] << 8 | all[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

TEST(CompleteChecksumTest, ReceiversAcceptBothVersions) {
  for (const bool v4 : {true, false}) {
    const size_t ip = 14, udp = ip + (v4 ? 20 : 40);
    std::vector<uint8_t> frame(udp + 8 + 148);
    for (size_t i = ip; i < frame.size(); ++i) frame[i] = static_cast<uint8_t>(i * 37);
    frame[ip] = v4 ? 0x45 : 0x60;
    frame[udp + 4] = 0;
    frame[udp + 5] = 156;
    CompleteChecksum({frame, static_cast<uint16_t>(ip), static_cast<uint16_t>(udp)});
    EXPECT_EQ(ReceiverSum(frame, ip, udp), 0xffffu);
    EXPECT_NE(frame[udp + 6] | frame[udp + 7], 0);
  }
}

TEST(TurnClockTest, GivesABurstAtOnceAndThenTheRate) {
  TurnClock clock;
  const Pace pace{1'000'000, 10};
  const uint64_t start = 5'000'000'000;
  EXPECT_EQ(clock.Room(pace, start), 10u);
  clock.Charge(pace, 4, start);
  EXPECT_EQ(clock.Room(pace, start), 6u);
  clock.Charge(pace, 6, start);
  EXPECT_EQ(clock.Room(pace, start), 0u);
  EXPECT_EQ(clock.Room(pace, start + 999'999), 0u);
  EXPECT_EQ(clock.Room(pace, start + 3'500'000), 3u);
  clock.Charge(pace, 3, start + 3'500'000);
  // The remainder of an interval is not lost.
  EXPECT_EQ(clock.Room(pace, start + 4'000'000), 1u);
  EXPECT_EQ(clock.Room(pace, start + 1'000'000'000), 10u);
  // More is taken than available: the debt is paid off over time.
  clock.Charge(pace, 15, start + 1'000'000'000);
  EXPECT_EQ(clock.Room(pace, start + 1'005'000'000), 0u);
  EXPECT_EQ(clock.Room(pace, start + 1'007'000'000), 2u);
}

TEST(TurnClockTest, WhoSharesItTakesOfTheSameTime) {
  TurnClock clock;
  const Pace kernel{1'000'000, 10}, user_space{3'000'000, 2};
  const uint64_t start = 5'000'000'000;
  clock.Charge(kernel, 10, start);
  EXPECT_EQ(clock.Room(user_space, start + 2'999'999), 0u);
  EXPECT_EQ(clock.Room(user_space, start + 3'000'000), 1u);
  clock.Charge(user_space, 1, start + 3'000'000);
  EXPECT_EQ(clock.Room(kernel, start + 3'999'999), 0u);
  EXPECT_EQ(clock.Room(kernel, start + 4'000'000), 1u);
  // After a pause, the full burst is available at either pace.
  EXPECT_EQ(clock.Room(user_space, start + 60'000'000), 2u);
}

class PacerTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kMillisecond_ns = 1'000'000;

  std::optional<uint32_t> waiting_ = 0;
  uint64_t now_ns_ = 3'600'000'000'000;
  TurnClock clock_;
  Pacer pacer_{{kMillisecond_ns, 10}, [this](uint64_t) { return waiting_; }, &clock_};
};

TEST_F(PacerTest, WhatCannotBeCountedGoesByTime) {
  waiting_ = std::nullopt;
  EXPECT_EQ(pacer_.Room(now_ns_), 10u);
  EXPECT_TRUE(pacer_.by_time());
  pacer_.Charge(10, now_ns_);
  EXPECT_EQ(pacer_.Room(now_ns_), 0u);
  waiting_ = 0;
  EXPECT_GT(pacer_.Room(now_ns_), 10u);
  EXPECT_FALSE(pacer_.by_time());
}

TEST_F(PacerTest, WhatIsCountedTakesNoneOfTheTime) {
  ASSERT_GT(pacer_.Room(now_ns_), 0u);
  pacer_.Charge(100, now_ns_);
  EXPECT_EQ(clock_.Room({kMillisecond_ns, 10}, now_ns_), 10u);
}

TEST_F(PacerTest, NoMoreThan256Wait) {
  waiting_ = 200;
  EXPECT_EQ(pacer_.Room(now_ns_), 56u);
  waiting_ = 255;
  EXPECT_EQ(pacer_.Room(now_ns_), 1u);
  for (const uint32_t many : {256u, 257u, 511u}) {
    waiting_ = many;
    EXPECT_EQ(pacer_.Room(now_ns_), 0u) << many;
    EXPECT_FALSE(pacer_.by_time()) << many;
  }
}

TEST_F(PacerTest, WhoIsUnderLoadGoesByTime) {
  waiting_ = 512;
  EXPECT_EQ(pacer_.Room(now_ns_), 10u);
  EXPECT_TRUE(pacer_.by_time());
}

TEST_F(PacerTest, NoMoreThan128AreOnTheirWay) {
  EXPECT_EQ(pacer_.Room(now_ns_), 128u);
  pacer_.Charge(100, now_ns_);
  EXPECT_EQ(pacer_.Room(now_ns_), 28u);
  now_ns_ += 4 * kMillisecond_ns;
  EXPECT_EQ(pacer_.Room(now_ns_), 28u);
  pacer_.Charge(28, now_ns_);
  EXPECT_EQ(pacer_.Room(now_ns_), 0u);
  now_ns_ += kMillisecond_ns;
  EXPECT_EQ(pacer_.Room(now_ns_), 128u);
  // More given back than there was room for: no room until the packets have arrived.
  pacer_.Charge(1000, now_ns_);
  EXPECT_EQ(pacer_.Room(now_ns_), 0u);
}

TEST(PaceTest, AUserSpaceDeviceIsTheSlower) {
  EXPECT_GT(PaceFor("uapi").interval_ns, PaceFor("netlink").interval_ns);
  EXPECT_LT(PaceFor("uapi").burst, 128u) << "wireguard-go is under load there";
  EXPECT_LT(PaceFor("netlink").burst, 512u) << "the kernel is";
}

}  // namespace
}  // namespace wicket::reinject
