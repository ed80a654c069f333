#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <random>
#include <set>
#include <thread>
#include <vector>

#include "base/address.h"
#include "base/clock.h"
#include "base/histogram.h"
#include "base/key.h"
#include "base/published.h"
#include "base/spsc_queue.h"
#include "base/task_clock.h"
#include "base/tai64n.h"

namespace wicket {
namespace {

TEST(PublicKeyTest, ReadsOnlyTheCanonicalText) {
  const std::string text = "YDCttCs9e1J52/g9vEnwJJa+2x6RqaayAYMpSVQfGEY=";
  const auto key = ParsePublicKey(text);
  ASSERT_TRUE(key);
  EXPECT_EQ(ToBase64(*key), text);
  EXPECT_EQ(Abbreviate(*key), "YDCttCs9…");
  for (const char* bad : {"", "YDCttCs9e1J52/g9vEnwJJa+2x6RqaayAYMpSVQfGEY",
                          "YDCttCs9e1J52/g9vEnwJJa+2x6RqaayAYMpSVQfGEZ=",  // stray low bits
                          "YDCttCs9e1J52/g9vEnwJJa+2x6RqaayAYMpSVQfGEY==",
                          "YDCttCs9e1J52 g9vEnwJJa+2x6RqaayAYMpSVQfGEY=",
                          "YDCttCs9e1J52_g9vEnwJJa-2x6RqaayAYMpSVQfGEY="}) {
    EXPECT_FALSE(ParsePublicKey(bad)) << bad;
  }
}

TEST(PublicKeyTest, EverySingleKeyRoundTrips) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    PublicKey key;
    for (auto& byte : key.bytes) byte = static_cast<uint8_t>(random());
    EXPECT_EQ(ParsePublicKey(ToBase64(key)), key);
  }
}

TEST(PrefixTest, ReadsAndPrints) {
  EXPECT_EQ(ToString(*ParsePrefix("10.1.2.3")), "10.1.2.3/32");
  EXPECT_EQ(ToString(*ParsePrefix("10.1.2.3/8")), "10.0.0.0/8");
  EXPECT_EQ(ToString(*ParsePrefix("0.0.0.0/0")), "0.0.0.0/0");
  EXPECT_EQ(ToString(*ParsePrefix("fd00::1/64")), "fd00::/64");
  EXPECT_EQ(ToString(*ParsePrefix("::/0")), "::/0");
  for (const char* bad : {"", "10.0.0.1/33", "10.0.0.1/", "10.0.0.1/-1", "10.0.0.1/+8", "10.0.0",
                          "fd00::/129", "host/24", "10.0.0.1/08x", "10.0.0.1/ 8"}) {
    EXPECT_FALSE(ParsePrefix(bad)) << bad;
  }
}

TEST(EndpointTest, ReadsPrintsAndConverts) {
  for (const char* text : {"192.0.2.1:51820", "[2001:db8::1]:1", "[fe80::1%3]:65535"}) {
    const auto endpoint = ParseEndpoint(text);
    ASSERT_TRUE(endpoint) << text;
    EXPECT_EQ(ToString(*endpoint), text);
    sockaddr_storage storage;
    const socklen_t bytes = ToSockaddr(*endpoint, &storage);
    EXPECT_EQ(FromSockaddr(&storage, bytes), endpoint);
    EXPECT_FALSE(FromSockaddr(&storage, bytes - 1));
  }
  for (const char* bad : {"192.0.2.1", "192.0.2.1:0", "192.0.2.1:65536", "2001:db8::1:5", ":5",
                          "[192.0.2.1]:5", "192.0.2.1:5x"}) {
    EXPECT_FALSE(ParseEndpoint(bad)) << bad;
  }
}

TEST(Tai64nTest, MatchesTheCapturedStamp) {
  // From the handshakes in noise_test.cc: 2018-07-20T22:38:19.358634 UTC.
  const Tai64n stamp = {0x40, 0, 0, 0, 0x5b, 0x52, 0x64, 0x7b, 0x15, 0x40, 0x56, 0x10};
  const absl::Time time = FromTai64n(stamp);
  EXPECT_EQ(absl::ToUnixSeconds(time), 0x5b52647b - 10);
  EXPECT_EQ(ToTai64n(time), stamp);
  EXPECT_EQ(FromTai64n(Tai64n{}), absl::InfinitePast());
  Tai64n far;
  far.fill(0xff);
  EXPECT_EQ(FromTai64n(far), absl::InfiniteFuture());
}

TEST(HistogramTest, QuantilesAreWithinOneBucketOfTheTruth) {
  std::mt19937_64 random(7);
  std::vector<uint64_t> samples;
  Histogram histogram;
  for (int i = 0; i < 20000; ++i) {
    const uint64_t value = 1ULL << (random() % 34);
    samples.push_back(value + random() % value);
    histogram.Record(samples.back());
  }
  std::sort(samples.begin(), samples.end());
  for (double quantile : {0.0, 0.01, 0.5, 0.9, 0.99, 0.999}) {
    const auto truth = static_cast<double>(
        samples[static_cast<size_t>(quantile * static_cast<double>(samples.size()))]);
    EXPECT_NEAR(static_cast<double>(histogram.Quantile(quantile)), truth, truth / 32 + 1);
  }
  EXPECT_EQ(histogram.Count(), samples.size());
  histogram.Record(~0ULL);
  EXPECT_EQ(Histogram().Quantile(0.5), 0u);
}

TEST(HistogramTest, RecentSamplesAreForgotten) {
  constexpr uint64_t kPeriod = RecentHistogram::kPeriod_ns;
  RecentHistogram recent;
  const auto count = [&](uint64_t now_ns) {
    Histogram sum;
    recent.AddTo(now_ns, &sum);
    return sum.Count();
  };
  recent.Record(1, 7 * kPeriod);
  recent.Record(1, 8 * kPeriod - 1);
  EXPECT_EQ(count(8 * kPeriod - 1), 2u);
  recent.Record(1, 8 * kPeriod);
  EXPECT_EQ(count(9 * kPeriod - 1), 3u);
  EXPECT_EQ(count(9 * kPeriod), 1u) << "those before the last period";
  EXPECT_EQ(count(10 * kPeriod), 0u) << "also when nothing came since";
  recent.Record(1, 11 * kPeriod);
  EXPECT_EQ(count(11 * kPeriod), 1u);
}

TEST(SpscQueueTest, KeepsOrderAcrossThreads) {
  constexpr uint32_t kItems = 200'000;
  SpscQueue<uint32_t> queue(64);
  std::thread producer([&] {
    for (uint32_t i = 0; i < kItems;) {
      if (uint32_t* slot = queue.Reserve()) {
        *slot = i++;
        queue.Submit();
      }
    }
  });
  for (uint32_t expected = 0; expected < kItems;) {
    if (uint32_t* item = queue.Peek()) {
      ASSERT_EQ(*item, expected++);
      queue.Release();
    }
  }
  producer.join();
  EXPECT_EQ(queue.Peek(), nullptr);
}

TEST(SpscQueueTest, RefusesWhenFull) {
  SpscQueue<int> queue(4);
  for (int i = 0; i < 4; ++i) {
    ASSERT_NE(queue.Reserve(), nullptr);
    queue.Submit();
  }
  EXPECT_EQ(queue.Reserve(), nullptr);
  queue.Release();
  EXPECT_NE(queue.Reserve(), nullptr);
}

TEST(PublishedTest, KeepsWhatAReaderHoldsAndFreesTheRest) {
  Published<int> published(std::make_unique<int>(1));
  Published<int>::Reader reader(published);
  published.Add(&reader);
  const int& held = reader.Renew();
  published.Publish(std::make_unique<int>(2));
  EXPECT_EQ(held, 1);
  EXPECT_EQ(published.versions(), 2u);
  EXPECT_EQ(reader.Renew(), 2);
  published.Publish(std::make_unique<int>(3));
  EXPECT_EQ(reader.Renew(), 3);
  published.Collect();
  EXPECT_EQ(published.versions(), 1u);
}

TEST(PublishedTest, ReadersNeverSeeAFreedValue) {
  Published<std::vector<int>> published(std::make_unique<std::vector<int>>(100, 0));
  Published<std::vector<int>>::Reader reader(published);
  published.Add(&reader);
  std::atomic<bool> stop{false};
  std::thread thread([&] {
    while (!stop) {
      const auto& value = reader.Renew();
      ASSERT_EQ(value.front(), value.back());
    }
  });
  for (int i = 1; i < 20'000; ++i) {
    published.Publish(std::make_unique<std::vector<int>>(100, i));
  }
  stop = true;
  thread.join();
}

TEST(InstantTest, TellsTimePassedFromAStepWithinABoot) {
  const Instant before{absl::FromUnixSeconds(1'800'000'000), absl::Seconds(50), 7};
  Instant after{before.wall + absl::Minutes(61), absl::Seconds(110), 7};
  EXPECT_EQ(Elapsed(before, after), absl::Minutes(1));
  EXPECT_EQ(StepBetween(before, after), absl::Hours(1));
  after.boot = 8;
  EXPECT_EQ(Elapsed(before, after), absl::Minutes(61));
  EXPECT_EQ(StepBetween(before, after), absl::ZeroDuration());
  const Instant now = InstantNow();
  EXPECT_NE(now.boot, 0u);
  EXPECT_EQ(InstantNow().boot, now.boot);
  EXPECT_GE(now.up, SteadyNow() - absl::Seconds(1)) << "it advances during sleep as well";
}

TEST(ClockStepDetectorTest, SeesStepsEitherWayAndNoSlew) {
  ClockStepDetector detector;
  absl::Duration steady = absl::Seconds(100);
  absl::Time wall = absl::FromUnixSeconds(1'800'000'000);
  EXPECT_EQ(detector.Look(steady, wall), std::nullopt) << "there was nothing to compare with";
  const auto advance = [&](absl::Duration on_steady, absl::Duration on_wall) {
    return detector.Look(steady += on_steady, wall += on_wall);
  };
  // 500 ppm of ten minutes, the fastest that a time daemon slews.
  EXPECT_EQ(advance(absl::Minutes(10), absl::Minutes(10) + absl::Milliseconds(300)), std::nullopt);
  EXPECT_EQ(advance(absl::Seconds(1), absl::Seconds(3)), absl::Seconds(2));
  EXPECT_EQ(advance(absl::Seconds(1), absl::Seconds(1)), std::nullopt) << "a step is told once";
  EXPECT_EQ(advance(absl::Seconds(1), absl::Seconds(1) - absl::Hours(87600)), -absl::Hours(87600));
  EXPECT_EQ(advance(absl::Seconds(1), absl::Seconds(1) + absl::Hours(87600)), absl::Hours(87600));
}

TEST(TaskClockTest, TellsOfTheTaskUnderWayOnly) {
  TaskClock task;
  EXPECT_EQ(task.Seconds(), 0);
  task.Begin();
  while (task.Seconds() <= 0) {
  }
  task.End();
  EXPECT_EQ(task.Seconds(), 0);
}

TEST(ClockTest, WhatIsAfterThisReadingIsNotAgo) {
  EXPECT_EQ(SecondsSince(SteadyNanos() + 1'000'000'000), 0);
  EXPECT_GE(SecondsSince(SteadyNanos() - 1'000'000'000), 1);
}

}  // namespace
}  // namespace wicket
