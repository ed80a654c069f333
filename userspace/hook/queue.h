// Events on their way to one receiver: a bounded queue in a folder, which a restart does not empty.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"

struct MDB_env;

namespace wicket::hook {

struct Batch {
  std::vector<std::string> events;
  uint64_t first = 0, last = 0;  // their numbers, which are never given again in this folder
};

// Thread: one pushes, one takes.
class Queue {
 public:
  // Makes the folder. Errors: name it, and what to do; of the first transaction, the reason alone.
  static absl::StatusOr<Queue> Open(const std::string& folder, uint64_t events_max);
  Queue(Queue&&) = default;

  // Adds the first ones, as far as there is room for them; none when the disk or the file is full.
  // Returns: how many. Errors: Internal, and the queue must be opened again.
  absl::StatusOr<size_t> Push(std::span<const std::string> events);
  // The oldest after the number `after`, at most `count`; they stay in the queue. The batch given
  // last is given again unchanged, also to a later process, until it is popped.
  // Requires, for that: the batches before it are popped or passed over, and `count` is not less.
  // Errors: ResourceExhausted: of a full disk; Internal as of Push.
  absl::StatusOr<Batch> Front(uint64_t after, size_t count);
  // Removes those up to the number `last`. Errors: as of Front.
  absl::Status Pop(uint64_t last);
  absl::StatusOr<uint64_t> size() const;
  // Of this folder alone, and as long as it lasts: numbers begin at 1 in every new one.
  const std::string& name() const { return name_; }

 private:
  struct Close {
    void operator()(MDB_env* env) const;
  };

  Queue(std::unique_ptr<MDB_env, Close> env, unsigned events, unsigned meta, uint64_t events_max)
      : env_(std::move(env)), events_(events), meta_(meta), events_max_(events_max) {}

  std::unique_ptr<MDB_env, Close> env_;
  unsigned events_, meta_;
  uint64_t events_max_;
  std::string name_;
};

}  // namespace wicket::hook
