// The peers with the most traffic, of a dump at a time.
#include "installer/busiest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace wicket::installer {
namespace {

PublicKey Key(uint8_t n) {
  PublicKey key{};
  key.bytes[0] = n;
  return key;
}

document::DeviceStatus StatusOf(const Busiest& busiest, uint64_t installed) {
  document::DeviceStatus status{.installed = installed};
  busiest.FillStatus(&status);
  return status;
}

TEST(BusiestTest, TheMostAreKeptAndTheRestCounted) {
  std::vector<uint8_t> order(100);
  for (uint8_t i = 0; i < 100; ++i) order[i] = i;
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    Busiest busiest(10);
    busiest.Begin();
    for (const uint8_t n : order) {
      busiest.Note(Key(n), {.received_bytes = uint64_t{n} * 3, .sent_bytes = uint64_t{n}});
    }
    busiest.Publish();
    const document::DeviceStatus status = StatusOf(busiest, 100);
    EXPECT_EQ(status.peers_capped, 90u);
    std::vector<uint8_t> kept;
    for (const auto& peer : status.busiest) kept.push_back(peer.public_key.bytes[0]);
    std::sort(kept.begin(), kept.end());
    EXPECT_EQ(kept, (std::vector<uint8_t>{90, 91, 92, 93, 94, 95, 96, 97, 98, 99}));
  }
}

TEST(BusiestTest, ADumpThatDoesNotEndChangesNothing) {
  Busiest busiest(2);
  busiest.Begin();
  busiest.Note(Key(1), {.sent_bytes = 5});
  EXPECT_TRUE(StatusOf(busiest, 1).busiest.empty());
  busiest.Publish();
  busiest.Begin();
  busiest.Note(Key(2), {.sent_bytes = 9});
  ASSERT_EQ(StatusOf(busiest, 1).busiest.size(), 1u);
  EXPECT_EQ(StatusOf(busiest, 1).busiest[0].sent_bytes, 5u);
  busiest.Publish();
  EXPECT_EQ(StatusOf(busiest, 1).busiest[0].sent_bytes, 9u);
}

TEST(BusiestTest, NoneAreWanted) {
  Busiest busiest(0);
  EXPECT_FALSE(busiest.wanted());
  EXPECT_EQ(StatusOf(busiest, 7).peers_capped, 0u);
}

}  // namespace
}  // namespace wicket::installer
