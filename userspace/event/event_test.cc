#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "base/clock.h"
#include "event/event_log.h"

namespace wicket::event {
namespace {

Event Numbered(uint16_t n) { return {.kind = Kind::kSeen, .device = "wg0", .source = {{}, n}}; }

TEST(EventLogTest, AWatcherSeesWhatComesAfterItInOrder) {
  EventLog log;
  log.Append(Numbered(1));
  EventLog::Watcher watcher(&log);
  EXPECT_TRUE(watcher.Read(absl::ZeroDuration()).events.empty());
  std::thread other([&] {
    for (uint16_t n = 2; n < 100; ++n) log.Append(Numbered(n));
  });
  uint16_t expected = 2;
  while (expected < 100) {
    const auto batch = watcher.Read(absl::Seconds(5));
    ASSERT_FALSE(batch.events.empty());
    EXPECT_EQ(batch.missed, 0u);
    for (const Event& event : batch.events) EXPECT_EQ(event.source.port, expected++);
  }
  other.join();
}

TEST(EventLogTest, ASlowWatcherIsToldWhatItMissed) {
  EventLog log;
  EventLog::Watcher watcher(&log);
  for (size_t n = 0; n < EventLog::kKept + 10; ++n) log.Append(Numbered(static_cast<uint16_t>(n)));
  const auto batch = watcher.Read(absl::ZeroDuration());
  EXPECT_EQ(batch.missed, 10u);
  ASSERT_EQ(batch.events.size(), EventLog::kKept);
  EXPECT_EQ(batch.events[0].source.port, 10);
}

TEST(LatestTest, KeepsTheLastOfEachPeerAndForgetsThoseThatWereQuietLongest) {
  const auto key_of = [](size_t n) {
    PublicKey key;
    memcpy(key.bytes.data(), &n, sizeof(n));
    return key;
  };
  EventLog log;  // without a watcher
  const auto note = [&](size_t n, Kind kind, uint16_t port = 0) {
    log.Append({.kind = kind, .device = "wg0", .peer = key_of(n), .source = {{}, port}});
  };
  for (uint16_t port = 1; port <= 6; ++port) note(1, Kind::kRefused, port);
  note(1, Kind::kUpdated);  // of its record, not of its packets
  const auto entries = log.LatestOf(key_of(1));
  ASSERT_EQ(entries.size(), Latest::kOfOne);
  EXPECT_EQ(entries.front().source.port, 3u);
  EXPECT_EQ(entries.back().source.port, 6u);
  // As many others, and it again, which moves it to the young ones with what is known of it.
  for (size_t n = 2; n <= Latest::kPeers; ++n) note(n, Kind::kSeen);
  note(1, Kind::kInstalled);
  EXPECT_EQ(log.LatestOf(key_of(1)).size(), Latest::kOfOne);
  for (size_t n = 0; n < Latest::kPeers; ++n) note(100'000 + n, Kind::kSeen);
  EXPECT_FALSE(log.LatestOf(key_of(1)).empty());
  EXPECT_TRUE(log.LatestOf(key_of(2)).empty());
}

TEST(LatestTest, OfSeveralWritersTheNewestAreTakenByTime) {
  EventLog log;
  Latest* installer = log.NewMemory();
  const auto note = [&](Kind kind, int at_s, Latest* memory) {
    log.Append(
        {.kind = kind, .at = absl::FromUnixSeconds(at_s), .device = "wg0", .peer = PublicKey{}},
        memory);
  };
  for (int s = 1; s <= 3; ++s) note(Kind::kInstalled, 10 * s + 1, installer);
  for (int s = 1; s <= 3; ++s) note(Kind::kSeen, 10 * s, nullptr);  // told late
  std::vector<Kind> kinds;
  for (const Latest::Entry& entry : log.LatestOf({})) kinds.push_back(entry.kind);
  EXPECT_EQ(kinds,
            (std::vector<Kind>{Kind::kSeen, Kind::kInstalled, Kind::kSeen, Kind::kInstalled}));
}

// Events so large that copying them all takes a good part of a second.
TEST(EventLogTest, AnAppendDoesNotWaitForAWatcherThatCopies) {
  EventLog log;
  EventLog::Watcher watcher(&log);
  Event large = Numbered(0);
  for (int i = 0; i < 400; ++i) large.figures[std::to_string(i)] = i;
  for (size_t n = 0; n < EventLog::kKept; ++n) log.Append(large);

  std::atomic<bool> done{false};
  absl::Duration reading;
  std::thread reader([&] {
    const absl::Duration begin = SteadyNow();
    EXPECT_EQ(watcher.Read(absl::ZeroDuration()).events.size(), EventLog::kKept);
    reading = SteadyNow() - begin;
    done = true;
  });
  absl::Duration longest;
  while (!done) {
    const absl::Duration begin = SteadyNow();
    log.Append(Numbered(1));
    longest = std::max(longest, SteadyNow() - begin);
    std::this_thread::yield();
  }
  reader.join();
  EXPECT_LT(longest, reading / 4) << "of " << reading;
}

TEST(EventLogTest, EveryWatcherIsWokenByOneAppend) {
  EventLog log;
  std::vector<std::thread> threads;
  std::atomic<int> ready{0}, seen{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      EventLog::Watcher watcher(&log);
      ++ready;
      seen += static_cast<int>(watcher.Read(absl::Seconds(30)).events.size());
    });
  }
  while (ready < 8) std::this_thread::yield();
  const absl::Duration begin = SteadyNow();
  log.Append(Numbered(1));
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(seen, 8);
  EXPECT_LT(SteadyNow() - begin, absl::Seconds(10));
}

TEST(EventLogTest, NobodyWatchesNothingIsKept) {
  EventLog log;
  EXPECT_FALSE(log.watched());
  {
    EventLog::Watcher watcher(&log);
    EXPECT_TRUE(log.watched());
  }
  EXPECT_FALSE(log.watched());
}

}  // namespace
}  // namespace wicket::event
