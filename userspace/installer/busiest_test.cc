// The peers with the most traffic, of a dump at a time.
#include "installer/busiest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
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
    busiest.Publish(/*complete=*/true, [](const PublicKey&) { return nullptr; });
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
  busiest.Publish(/*complete=*/true, [](const PublicKey&) { return nullptr; });
  busiest.Begin();
  busiest.Note(Key(2), {.sent_bytes = 9});
  ASSERT_EQ(StatusOf(busiest, 1).busiest.size(), 1u);
  EXPECT_EQ(StatusOf(busiest, 1).busiest[0].sent_bytes, 5u);
  busiest.Publish(/*complete=*/true, [](const PublicKey&) { return nullptr; });
  EXPECT_EQ(StatusOf(busiest, 1).busiest[0].sent_bytes, 9u);
}

TEST(BusiestTest, AnInterruptedDumpKeepsWhoWasToldBeforeAndShowsNobodyTwice) {
  const auto resident = [](const PublicKey& key) -> const store::Session* {
    static const store::Session session{.sent_bytes = 7};
    return key == Key(1) ? &session : nullptr;  // the other has left
  };
  Busiest busiest(3);
  busiest.Begin();
  busiest.Note(Key(1), {.sent_bytes = 5});
  busiest.Note(Key(2), {.sent_bytes = 6});
  busiest.Publish(true, resident);
  busiest.Begin();
  busiest.Note(Key(3), {.sent_bytes = 1});
  busiest.Note(Key(3), {.sent_bytes = 2});
  busiest.Publish(false, resident);
  std::map<uint8_t, uint64_t> sent;
  const document::DeviceStatus status = StatusOf(busiest, 3);
  for (const auto& peer : status.busiest) sent[peer.public_key.bytes[0]] = peer.sent_bytes;
  EXPECT_EQ(sent, (std::map<uint8_t, uint64_t>{{1, 7}, {3, 2}}));
  EXPECT_EQ(status.busiest.size(), 2u);
  busiest.Clear();
  EXPECT_TRUE(StatusOf(busiest, 0).busiest.empty());
}

TEST(BusiestTest, AnInterruptedDumpOfTheSamePeersLosesNone) {
  const auto resident = [](const PublicKey&) -> const store::Session* {
    static const store::Session session{.sent_bytes = 20};
    return &session;
  };
  Busiest busiest(3);
  for (const bool complete : {true, false}) {
    busiest.Begin();
    for (uint8_t n = 0; n < 3; ++n) busiest.Note(Key(n), {.sent_bytes = 10u + n});
    busiest.Publish(complete, resident);
    EXPECT_EQ(StatusOf(busiest, 3).busiest.size(), 3u);
  }
}

TEST(BusiestTest, NoneAreWanted) {
  Busiest busiest(0);
  EXPECT_FALSE(busiest.wanted());
  EXPECT_EQ(StatusOf(busiest, 7).peers_capped, 0u);
}

}  // namespace
}  // namespace wicket::installer
