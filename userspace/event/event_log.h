// What happens to peers, for whoever wants to watch it happen.
//
//   shards, installers, control --Append--> ring of the last events --Read--> watchers
//
// Nobody waits for a watcher: one that is too slow is told how many it missed.
#pragma once

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/address.h"
#include "base/key.h"

namespace wicket::event {

// X(Name, text, what it means)
#define WICKET_EVENTS(X)                                                                 \
  X(Seen, "seen", "an initiation proved its key and went to the installer")              \
  X(Refused, "refused", "an initiation was not let in, for `reason`; of a flood, some")  \
  X(Installed, "installed", "a peer was put into its device")                            \
  X(Confirmed, "confirmed", "a session's first data packet came")                        \
  X(Evicted, "evicted", "a peer was taken out of its device")                            \
  X(Expired, "expired", "a peer's time was over; it is deleted")                         \
  X(Created, "created", "a peer was stored")                                             \
  X(Updated, "updated", "a stored peer was changed")                                     \
  X(Deleted, "deleted", "a peer was deleted")                                            \
  X(Attack, "attack",                                                                    \
    "initiations are refused at a high rate, or a shard is under load; every 10 s anew") \
  X(AttackOver, "attack_over", "neither for 10 s")

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
  std::optional<PublicKey> peer;  // only of a sender who has proven it, or who is stored
  Endpoint source;                // family kNone: none
  const char* reason = "";        // static storage
  // Of an attack: sources, proven_per_s, install_p99_ms, and what is refused, a second.
  std::map<std::string, double> figures = {};
};

// Thread: any.
class EventLog {
 public:
  static constexpr size_t kKept = 4096;

  void Append(Event event);
  // Nobody watches: whoever would have to gather details need not.
  bool watched() const { return watchers_.load(std::memory_order_relaxed) > 0; }
  const std::atomic<int>& watchers() const { return watchers_; }

  // One reader, which sees what is appended from now on.
  class Watcher {
   public:
    explicit Watcher(EventLog* log);
    ~Watcher();
    Watcher(const Watcher&) = delete;

    struct Batch {
      std::vector<Event> events;
      uint64_t missed = 0;  // were dropped before the first of `events`
    };
    // Waits for events, at most for `wait`.
    Batch Read(absl::Duration wait);

   private:
    EventLog* log_;
    uint64_t next_;
  };

 private:
  std::mutex mutex_;
  std::condition_variable appended_;
  std::vector<Event> ring_ = std::vector<Event>(kKept);
  uint64_t end_ = 0;  // events ever appended
  std::atomic<int> watchers_{0};
};

}  // namespace wicket::event
