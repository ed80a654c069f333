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
#include <memory>
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

  // Drops the event when there is no watcher, but for `memory`, or the log's own.
  // Cost: one lock, which other threads hold to move one event or to swap two queues, some 100 ns,
  //       but never while they copy events; and one wake-up, however many watchers sleep.
  void Append(Event event, Latest* memory = nullptr);
  // A memory for one thread, which then waits for no other's events. Lifetime: the log's.
  Latest* NewMemory();
  // Returns: what happened last to the peer, by all memories: up to Latest::kOfOne entries, the
  //          oldest first.
  std::vector<Latest::Entry> LatestOf(const PublicKey& peer) const;
  // False when there is no watcher, so the details of an event need not be gathered.
  bool watched() const { return watchers_.load(std::memory_order_relaxed) > 0; }
  const std::atomic<int>& watchers() const { return watchers_; }

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

  Latest own_memory_;
  mutable std::mutex memories_mutex_;  // of the list, not of what is in it
  std::vector<std::unique_ptr<Latest>> memories_;
};

}  // namespace wicket::event
