#include "tools/blast/schedule.h"

#include <gtest/gtest.h>

namespace wicket::blast {
namespace {

constexpr double kRate = 512;  // so that the times of turns are whole nanoseconds
constexpr uint64_t kStep_ns = 1'000'000'000 / 512, kStart_ns = 7'000'000'000;

LoadOptions AtRate(double rate, int threads = 1) {
  LoadOptions options;
  options.pace.rate = rate;
  options.threads = threads;
  return options;
}

Schedule Started(const LoadOptions& options, uint32_t thread = 0) {
  Schedule schedule(options, thread);
  schedule.Start(kStart_ns);
  return schedule;
}

TEST(Schedule, ThreadsTakeTurns) {
  const Schedule first = Started(AtRate(kRate, 2), 0), second = Started(AtRate(kRate, 2), 1);
  for (uint64_t number = 0; number < 4; ++number) {
    EXPECT_EQ(first.DueAt(number), kStart_ns + 2 * number * kStep_ns);
    EXPECT_EQ(second.DueAt(number), kStart_ns + (2 * number + 1) * kStep_ns);
  }
}

TEST(Schedule, TheLoadHasSoManyTurnsInAllThreadsTogether) {
  LoadOptions options = AtRate(kRate, 2);
  options.pace.count_max = 5;
  const Schedule first(options, 0), second(options, 1);
  EXPECT_TRUE(first.Has(2));
  EXPECT_FALSE(first.Has(3));
  EXPECT_TRUE(second.Has(1));
  EXPECT_FALSE(second.Has(2));
}

TEST(Schedule, ARampIntegratesItsRate) {
  LoadOptions options = AtRate(100);
  options.pace.ramp_to = 300;
  options.pace.duration = absl::Seconds(10);
  const Schedule schedule = Started(options);
  EXPECT_NEAR(schedule.OffsetOf(750), 5, 1e-9);  // 100 * 5 + 20 * 5 * 5 / 2
  EXPECT_NEAR(schedule.OffsetOf(2000), 10, 1e-9);
}

TEST(Schedule, ARampThatFallsToZeroEnds) {
  LoadOptions options = AtRate(100);
  options.pace.ramp_to = 0;
  options.pace.duration = absl::Seconds(10);
  const Schedule schedule = Started(options);
  EXPECT_NEAR(schedule.OffsetOf(500), 10, 1e-6);
  EXPECT_GE(schedule.OffsetOf(501), 1e9);
}

TEST(Schedule, ACaptureKeepsItsTimesUnlessARateIsAskedFor) {
  const std::vector<CapturedDatagram> captured = {{absl::Milliseconds(0), {}, {}},
                                                  {absl::Milliseconds(30), {}, {}},
                                                  {absl::Milliseconds(31), {}, {}}};
  LoadOptions options = AtRate(kRate);
  options.replay = &captured;
  const Schedule schedule = Started(options);
  EXPECT_EQ(schedule.DueAt(1), kStart_ns + 30'000'000);
  EXPECT_EQ(schedule.DueAt(2), kStart_ns + 31'000'000);
  EXPECT_EQ(schedule.DueAt(3), kStart_ns + 31'000'000);
  options.at_captured_times = false;
  EXPECT_EQ(Started(options).DueAt(1), kStart_ns + kStep_ns);
}

TEST(Schedule, TurnsThatAreLateAreDueTogether) {
  LoadOptions options = AtRate(kRate);
  const Schedule schedule = Started(options);
  const uint64_t now = kStart_ns + 3 * kStep_ns;
  EXPECT_EQ(schedule.CountDue(0, now - 1, 16), 3u);
  EXPECT_EQ(schedule.CountDue(0, now, 16), 4u);
  EXPECT_EQ(schedule.CountDue(2, now, 16), 2u);
  EXPECT_EQ(schedule.CountDue(9, now, 16), 1u);
  EXPECT_EQ(schedule.CountDue(0, now, 2), 2u);
  options.pace.count_max = 3;
  EXPECT_EQ(Started(options).CountDue(0, now, 16), 3u);
}

TEST(Schedule, AClosedLoopKeepsItsShareUnderWay) {
  LoadOptions options = AtRate(kRate, 2);
  options.pace.in_flight = 10;
  const Schedule schedule = Started(options);
  const uint64_t now = kStart_ns + 1;
  EXPECT_EQ(schedule.Due(1000, now, 4), now);
  EXPECT_GT(schedule.Due(1000, now, 5), now);
  EXPECT_EQ(schedule.CountDue(0, now + 100 * kStep_ns, 16), 1u);
  options.pace.in_flight = 1;  // of two threads: each has one
  EXPECT_EQ(Started(options).Due(0, now, 0), now);
  EXPECT_GT(Started(options).Due(0, now, 1), now);
}

TEST(Schedule, WhatWasDueBeforeTheEndMayLeaveLate) {
  LoadOptions options = AtRate(kRate);
  options.pace.duration = absl::Seconds(1);
  const Schedule schedule = Started(options);
  const uint64_t end = kStart_ns + 1'000'000'000;
  EXPECT_EQ(schedule.end_ns(), end);
  EXPECT_FALSE(schedule.IsOver(end - 1, end + 5));
  EXPECT_FALSE(schedule.IsOver(end + 1'000'000, end - 1));
  EXPECT_TRUE(schedule.IsOver(end, end));
  EXPECT_TRUE(schedule.IsOver(end + 1'000'000'000, end - 1));
  options.pace.in_flight = 1;
  EXPECT_TRUE(Started(options).IsOver(end, end - 1));
}

}  // namespace
}  // namespace wicket::blast
