// What happens to peers, as a stream of events for watchers.
//
//   gateway, installers, roster --Append--> pending --first watcher to wake--> ring --> watchers
//
// The gateway appends for the shards, which take no lock. An append never waits while a watcher
// copies events. It takes only the lock of `pending`, which a watcher holds just to swap the whole
// queue for an empty one. A watcher that is too slow is told how many events it missed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "event/event.h"
#include "event/latest.h"

namespace wicket::event {

// Thread: any.
class EventLog {
 public:
  static constexpr size_t kKept = 4096;

  // Drops the event when there is no watcher, but for Latest.
  // Cost: one lock, which other threads hold to move one event or to swap two queues, some 100 ns,
  //       but never while they copy events; and one wake-up, however many watchers sleep.
  void Append(Event event);
  // Of more of a kind than watchers could read: for Latest only.
  void NoteLatest(const Event& event) { latest_.Note(event); }
  // False when there is no watcher, so the details of an event need not be gathered.
  bool watched() const { return watchers_.load(std::memory_order_relaxed) > 0; }
  const std::atomic<int>& watchers() const { return watchers_; }
  const Latest& latest() const { return latest_; }

  // One reader, which sees the events appended after its construction.
  class Watcher {
   public:
    explicit Watcher(EventLog* log);
    ~Watcher();
    Watcher(const Watcher&) = delete;

    struct Batch {
      std::vector<Event> events;
      uint64_t missed = 0;  // dropped before the first of `events`
    };
    // Waits for events, for `wait` at most.
    Batch Read(absl::Duration wait);

   private:
    EventLog* log_;
    uint64_t next_;
  };

 private:
  // Moves the pending events into the ring. Requires: ring_mutex_.
  void Drain();

  std::mutex mutex_;  // guards the next three
  std::condition_variable appended_;
  std::deque<Event> pending_;  // at most the latest kKept
  uint64_t end_ = 0;           // events ever appended

  std::mutex ring_mutex_;  // locked before mutex_, and by watchers only
  std::vector<Event> ring_;
  uint64_t ring_end_ = 0;

  std::atomic<int> watchers_{0};
  Latest latest_;
};

}  // namespace wicket::event
