// Writes sessions to the store on a thread of its own.
//
// The store has one writer at a time in all processes, and an import may keep it
// for seconds; no installer may wait for that.
#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "store/store.h"

namespace wicket::gateway {

using Sessions = std::vector<std::pair<PublicKey, store::Session>>;

// What fails to be written is kept and tried again, so nothing submitted is lost
// while the process lives.
//
// Thread: Submit and SavedUpTo from any thread.
class SessionSaver {
 public:
  explicit SessionSaver(const store::Store* store);
  // Tries once more to write what is left.
  ~SessionSaver();

  // Returns: a ticket; all of it is durable once SavedUpTo() has reached it.
  uint64_t Submit(Sessions sessions);
  uint64_t SavedUpTo() const;

 private:
  void Loop();
  absl::Status Write(const absl::flat_hash_map<PublicKey, store::Session>& sessions);

  const store::Store* store_;
  mutable std::mutex mutex_;
  std::condition_variable submitted_;
  absl::flat_hash_map<PublicKey, store::Session> waiting_;  // the latest of each peer
  uint64_t tickets_ = 0;
  uint64_t saved_ = 0;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace wicket::gateway
