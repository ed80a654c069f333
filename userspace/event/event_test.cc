#include <gtest/gtest.h>

#include <thread>

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
