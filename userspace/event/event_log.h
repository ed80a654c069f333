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
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/address.h"
#include "base/key.h"

namespace wicket::event {

// X(Name, text, meaning)
#define WICKET_EVENTS(X)                                                               \
  X(Seen, "seen", "an initiation proved its key and went to the installer")            \
  X(Refused, "refused", "an initiation was refused for `reason`; a sample of a flood") \
  X(Installed, "installed", "a peer was put into its device")                          \
  X(Confirmed, "confirmed", "the first data packet of a session arrived")              \
  X(Evicted, "evicted", "a peer was removed from its device")                          \
  X(Expired, "expired", "a peer expired and was deleted")                              \
  X(OverQuota, "over_quota",                                                           \
    "a peer used up the bytes of its period, and leaves its device")                   \
  X(Created, "created", "a peer was stored")                                           \
  X(Updated, "updated", "a stored peer was changed")                                   \
  X(Deleted, "deleted", "a peer was deleted")                                          \
  X(Attack, "attack",                                                                  \
    "initiations are refused at a high rate, or a shard is under load; every 10 s")    \
  X(AttackOver, "attack_over", "neither for 10 s")                                     \
  X(ClockStep, "clock_step",                                                           \
    "the wall clock stepped against the steady clock; figures.seconds says how far")

enum class Kind : uint8_t {
#define WICKET_EVENT_ENUM(name, text, help) k##name,
  WICKET_EVENTS(WICKET_EVENT_ENUM)
#undef WICKET_EVENT_ENUM
};
const char* ToString(Kind kind);

struct Event {
  Kind kind = Kind::kSeen;
  absl::Time at;
  std::string device;
  std::optional<PublicKey> peer;  // of the store or a device, or a sender that proved this key
  Endpoint source;                // family kNone: none
  const char* reason = "";        // static storage
  // Of an attack: sources, proven_per_s, install_p99_ms, and refusals a second by reason.
  // Of a clock step: seconds, positive for forwards.
  std::map<std::string, double> figures = {};
};

// Thread: any.
class EventLog {
 public:
  static constexpr size_t kKept = 4096;

  // Drops the event when there is no watcher.
  // Cost: one lock, which other threads hold to move one event or to swap two queues, some 100 ns,
  //       but never while they copy events; and one wake-up, however many watchers sleep.
  void Append(Event event);
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
};

}  // namespace wicket::event
