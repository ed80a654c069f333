// Events on their way to one receiver: a bounded queue in a folder, which a restart does not empty.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

struct MDB_env;

namespace wicket::hook {

struct Batch {
  std::vector<std::string> events;
  uint64_t first = 0, last = 0;  // their numbers, which are never given again
};

// Thread: one pushes, one takes.
class Queue {
 public:
  // Makes the folder. Errors: name it, and what to do.
  static absl::StatusOr<Queue> Open(const std::string& folder, uint64_t events_max);
  Queue(Queue&&) = default;

  // Adds them all, or none. Errors: ResourceExhausted when there is no room in the queue or on the
  // disk.
  absl::Status Push(std::span<const std::string> events);
  // The oldest, at most `count`; they stay in the queue. Empty: there are none.
  absl::StatusOr<Batch> Front(size_t count) const;
  // Removes those up to the number `last`.
  absl::Status Pop(uint64_t last);
  absl::StatusOr<uint64_t> size() const;

 private:
  struct Close {
    void operator()(MDB_env* env) const;
  };

  Queue(std::unique_ptr<MDB_env, Close> env, unsigned table, uint64_t events_max)
      : env_(std::move(env)), table_(table), events_max_(events_max) {}

  std::unique_ptr<MDB_env, Close> env_;
  unsigned table_;
  uint64_t events_max_;
};

}  // namespace wicket::hook
