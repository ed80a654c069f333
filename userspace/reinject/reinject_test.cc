#include <gtest/gtest.h>

#include <vector>

#include "reinject/injector.h"
#include "reinject/pacer.h"

namespace wicket::reinject {
namespace {

// Verifies as a receiver does: the sum over pseudo header and datagram is 0xffff.
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
  // What is left of an interval is not lost.
  EXPECT_EQ(clock.Room(pace, start + 4'000'000), 1u);
  EXPECT_EQ(clock.Room(pace, start + 1'000'000'000), 10u);
  // Taken beyond what is there: it is worked off.
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
  // It has rested: of either kind its burst is there.
  EXPECT_EQ(clock.Room(user_space, start + 60'000'000), 2u);
}

TEST(PacerTest, AUserSpaceDeviceIsPacedByTime) {
  TurnClock clock;
  Pacer pacer("uapi", 1, &clock);
  EXPECT_FALSE(pacer.uncounted().ok());
  const uint64_t now_ns = 3'600'000'000'000;
  EXPECT_EQ(pacer.Room(now_ns), 64u);
  EXPECT_TRUE(pacer.by_time());
  pacer.Charge(64, now_ns);
  EXPECT_EQ(pacer.Room(now_ns), 0u);
}

}  // namespace
}  // namespace wicket::reinject
