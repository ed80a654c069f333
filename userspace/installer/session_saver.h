// Writes sessions to the store, the latest of each peer.
//
// No installer waits for it: the store has one writer at a time, and an import
// may keep it for seconds.
#pragma once

#include <condition_variable>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "store/committer.h"

namespace wicket::installer {

using Sessions = std::vector<std::pair<PublicKey, store::Session>>;

// What fails to be written is kept and tried again with the next submission, so
// nothing submitted is lost while the process lives.
//
// Thread: any.
class SessionSaver {
 public:
  // `committer` outlives it.
  explicit SessionSaver(store::Committer* committer) : committer_(committer) {}
  // Tries once more to write what is left.
  ~SessionSaver();

  // Returns: a ticket; all of it is durable once SavedUpTo() has reached it.
  uint64_t Submit(Sessions sessions);
  uint64_t SavedUpTo() const;
  // True for a peer whose session could not be saved yet, although the ticket is reached:
  // the store has no room for it.
  bool Waits(const PublicKey& key) const;
  // What is not saved, for a saver on the store opened anew. Forgets it.
  Sessions TakeUnsaved();

 private:
  using Batch = absl::flat_hash_map<PublicKey, store::Session>;
  void WriteSome(std::unique_lock<std::mutex>* lock);
  void Written(const Batch& batch, const std::vector<PublicKey>& no_room, uint64_t ticket,
               const absl::Status& status);

  store::Committer* committer_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  Batch waiting_;
  absl::flat_hash_set<PublicKey> no_room_;  // tried, and to be tried again
  uint64_t tickets_ = 0;
  uint64_t saved_ = 0;
  bool writing_ = false;  // at most one batch is with the committer
};

}  // namespace wicket::installer
