#include "tools/blast/outstanding.h"

#include <gtest/gtest.h>
#include <string.h>

#include <utility>

#include "tools/blast/load.h"

namespace wicket::blast {
namespace {

LoadOptions AtRate(double rate) {
  LoadOptions options;
  options.pace.rate = rate;
  return options;
}

Outstanding::Handshake Sent(uint32_t index, uint64_t client = 0) {
  Packet packet{Kind::kNew, client, {}};
  memcpy(packet.handshake.message.sender_index.data(), &index, sizeof(index));
  return {std::move(packet)};
}

TEST(Outstanding, AnAnswerFindsItsHandshakeOnce) {
  Outstanding outstanding(16);
  EXPECT_EQ(outstanding.Add(Sent(7, 70), 100), 0u);
  EXPECT_EQ(outstanding.Add(Sent(8, 80), 100), 0u);
  EXPECT_EQ(outstanding.awaited(), 2u);
  EXPECT_EQ(outstanding.FindHandshake(7 + 16), nullptr);  // the same slot
  EXPECT_EQ(outstanding.FindHandshake(9), nullptr);
  EXPECT_EQ(outstanding.FindPing(7), nullptr);
  Outstanding::Handshake* handshake = outstanding.FindHandshake(7);
  ASSERT_NE(handshake, nullptr);
  EXPECT_EQ(handshake->packet.client, 70u);
  outstanding.Forget(handshake);
  EXPECT_EQ(outstanding.FindHandshake(7), nullptr);
  EXPECT_NE(outstanding.FindHandshake(8), nullptr);
  EXPECT_EQ(outstanding.awaited(), 1u);
}

TEST(Outstanding, DeadlinesComeInTheirOrder) {
  Outstanding outstanding(16);
  EXPECT_EQ(outstanding.NextDeadline(), std::nullopt);
  const std::pair<uint32_t, uint64_t> sent[] = {{1, 30}, {2, 10}, {3, 20}};
  for (const auto& [index, deadline] : sent) EXPECT_EQ(outstanding.Add(Sent(index), deadline), 0u);
  EXPECT_EQ(outstanding.NextDeadline(), 10u);
  EXPECT_EQ(outstanding.TakeExpired(10), nullptr);  // in time still
  for (const uint32_t expected : {2u, 3u}) {
    Outstanding::Handshake* handshake = outstanding.TakeExpired(21);
    ASSERT_NE(handshake, nullptr);
    EXPECT_EQ(handshake->index(), expected);
    EXPECT_EQ(outstanding.GiveUp(handshake), 1u);
  }
  EXPECT_EQ(outstanding.TakeExpired(21), nullptr);
  EXPECT_EQ(outstanding.NextDeadline(), 30u);
  EXPECT_EQ(outstanding.awaited(), 1u);
}

TEST(Outstanding, WhatWasAnsweredDoesNotExpire) {
  Outstanding outstanding(16);
  EXPECT_EQ(outstanding.Add(Sent(1), 10), 0u);
  outstanding.Forget(outstanding.FindHandshake(1));
  EXPECT_EQ(outstanding.TakeExpired(11), nullptr);
  EXPECT_EQ(outstanding.NextDeadline(), std::nullopt);
}

TEST(Outstanding, TheNextHandshakeInASlotTakesItAndLosesTheLast) {
  Outstanding outstanding(4);
  EXPECT_EQ(outstanding.Add(Sent(1), 10), 0u);
  EXPECT_EQ(outstanding.Add(Sent(5), 20), 1u);
  EXPECT_EQ(outstanding.FindHandshake(1), nullptr);
  EXPECT_NE(outstanding.FindHandshake(5), nullptr);
  EXPECT_EQ(outstanding.awaited(), 1u);
  EXPECT_EQ(outstanding.TakeExpired(15), nullptr);  // the first one's deadline is not the second's
  EXPECT_NE(outstanding.TakeExpired(25), nullptr);
}

TEST(Outstanding, APingIsAwaitedInPlaceOfTheResponse) {
  Outstanding outstanding(4);
  EXPECT_EQ(outstanding.Add(Sent(1), 10), 0u);
  outstanding.AwaitPong(outstanding.FindHandshake(1), 42, 20);
  EXPECT_EQ(outstanding.FindHandshake(1), nullptr);  // a second response is not expected
  Outstanding::Handshake* handshake = outstanding.FindPing(1);
  ASSERT_NE(handshake, nullptr);
  EXPECT_EQ(handshake->session, 42u);
  EXPECT_EQ(outstanding.awaited(), 1u);
  EXPECT_EQ(outstanding.GiveUp(handshake), 0u) << "the handshake was answered";
  EXPECT_EQ(outstanding.awaited(), 0u);
  EXPECT_EQ(outstanding.FindPing(1), nullptr);
}

TEST(Outstanding, TheDeadlineOfTheResponseHoldsForThePingToo) {
  Outstanding outstanding(4);
  EXPECT_EQ(outstanding.Add(Sent(1), 10), 0u);
  outstanding.AwaitPong(outstanding.FindHandshake(1), 0, 20);
  EXPECT_NE(outstanding.TakeExpired(11), nullptr);
}

TEST(Outstanding, GivingUpAllLosesWhatHasNoResponse) {
  Outstanding outstanding(8);
  for (uint32_t index = 0; index < 4; ++index) EXPECT_EQ(outstanding.Add(Sent(index), index), 0u);
  outstanding.AwaitPong(outstanding.FindHandshake(0), 0, 20);
  outstanding.Forget(outstanding.FindHandshake(1));
  EXPECT_EQ(outstanding.GiveUpAll(), 2u);
  EXPECT_EQ(outstanding.awaited(), 0u);
  EXPECT_EQ(outstanding.NextDeadline(), std::nullopt);
}

TEST(Outstanding, SlotsFollowFromTheRateAndThePatience) {
  EXPECT_EQ(Outstanding::SlotsFor(AtRate(100)), size_t{1} << 16);
  LoadOptions options = AtRate(20'000);  // for 5 s
  EXPECT_EQ(Outstanding::SlotsFor(options), size_t{1} << 17);
  options.threads = 2;
  EXPECT_EQ(Outstanding::SlotsFor(options), size_t{1} << 16);
  options.threads = 1;
  options.patience.retries = 1;
  EXPECT_EQ(Outstanding::SlotsFor(options), size_t{1} << 18);
  EXPECT_EQ(Outstanding::SlotsFor(AtRate(1e9)), kInFlightMax);
  options = AtRate(100);
  options.pace.in_flight = 1 << 18;
  EXPECT_EQ(Outstanding::SlotsFor(options), size_t{1} << 18);
}

}  // namespace
}  // namespace wicket::blast
