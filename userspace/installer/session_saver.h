// Writes sessions to the store, the latest of each peer.
//
// No installer waits for it: the store has one writer at a time, and an import may keep that writer
// for seconds.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "store/committer.h"

namespace wicket::installer {

using Sessions = std::vector<std::pair<PublicKey, store::Session>>;

// What fails to be written is kept in memory and tried again with the next submission, so nothing
// submitted is lost while the process lives.
//
// Thread: any. No call waits for the disk.
class SessionSaver {
 public:
  // Sessions kept for a store that does not take them. Beyond that, peers stay in the device.
  static constexpr size_t kUnsavedMax = 65'536;

  // `committer` outlives it.
  explicit SessionSaver(store::Committer* committer) : committer_(committer) {}
  // Tries once more to write what is left.
  ~SessionSaver();

  // Returns: a ticket; all of it has been offered to the store once SavedUpTo() has reached it: it
  //          is durable, or the file has no room for it, and it is unsaved.
  uint64_t Submit(Sessions sessions);
  uint64_t SavedUpTo() const;
  // The session of a peer that the store does not have yet, which is newer than the stored one.
  std::optional<store::Session> FindUnsaved(const PublicKey& key) const;
  size_t unsaved() const { return unsaved_.load(std::memory_order_relaxed); }
  // What is not saved, for a saver on the store opened anew. Forgets it.
  Sessions TakeUnsaved();

 private:
  using Batch = absl::flat_hash_map<PublicKey, store::Session>;
  void WriteSome(std::unique_lock<std::mutex>* lock);
  void CountUnsaved() { unsaved_ = waiting_.size() + (writing_ ? writing_->size() : 0); }
  void Written(const Batch& batch, const std::vector<PublicKey>& no_room, uint64_t ticket,
               const absl::Status& status);

  store::Committer* committer_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  Batch waiting_;
  std::shared_ptr<const Batch> writing_;  // with the committer; null: nothing is
  uint64_t tickets_ = 0;
  uint64_t saved_ = 0;
  std::atomic<size_t> unsaved_{0};  // of both
};

}  // namespace wicket::installer
