// Writes sessions to the store, the latest of each peer, in the background.
//
// No installer waits for it: the store has one writer at a time, and an import may hold that for
// seconds.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "store/committer.h"

namespace wicket::installer {

using Sessions = std::vector<std::pair<PublicKey, store::Session>>;

// A session that could not be written is kept in memory and tried again with a later submission. So
// that of a stored peer is not lost while the process lives.
//
// Thread: any. Only TakeUnsaved and the destructor wait for a write in flight.
class SessionSaver {
 public:
  // The limit of unsaved sessions of peers that have left. Beyond it, peers stay in the device.
  static constexpr size_t kLeftMax = 65'536;

  // `committer` outlives it.
  explicit SessionSaver(store::Committer* committer) : committer_(committer) {}
  // Tries once more to write the sessions left, but for those that the file had no room for.
  ~SessionSaver();

  // Returns: a ticket. Once SavedUpTo() reaches it, every session submitted so far was offered to
  //          the store: it is durable, or it is unsaved because the file has no room for it, or
  //          its peer is not stored.
  uint64_t Submit(Sessions sessions);
  uint64_t SavedUpTo() const;
  // Moves whenever sessions have become durable. A reader that found a peer's session neither here
  // nor in its view of the store looks again when it has moved since the view was made.
  uint64_t generation() const { return generation_.load(); }
  // The peer's mark was reset: it is taken out of its pending sessions, so none brings the old one
  // back. Submit the session of an installed peer again.
  void Forget(const PublicKey& key);
  // The peer has left its device, so only this keeps its session until it is written.
  void NoteLeft(const PublicKey& key);
  // Whether the peer's session survives the peer's leaving: it is saved, or there is room for it.
  bool Keeps(const PublicKey& key) const { return left() < kLeftMax || !FindUnsaved(key); }
  // Unsaved sessions of peers that NoteLeft() was told of.
  size_t left() const { return left_count_.load(std::memory_order_relaxed); }
  // Whether the last write failed.
  bool fails() const { return fails_.load(std::memory_order_relaxed); }
  // Whether sessions are unsaved because the store does not take them.
  bool refused() const { return refused_.load(std::memory_order_relaxed); }
  // Returns: the session of a peer that is not in the store yet, and newer than the stored one.
  std::optional<store::Session> FindUnsaved(const PublicKey& key) const;
  size_t unsaved() const { return unsaved_.load(std::memory_order_relaxed); }
  // Returns: the unsaved sessions, for the saver of a reopened store, and forgets them.
  Sessions TakeUnsaved();

 private:
  using Batch = absl::flat_hash_map<PublicKey, store::Session>;
  bool IsUnsaved(const PublicKey& key) const {
    return waiting_.contains(key) || no_room_.sessions.contains(key) ||
           (writing_ && writing_->contains(key));
  }
  void WriteSome(std::unique_lock<std::mutex>* lock);
  void AddSlice(const Sessions& sessions, size_t begin);
  void RetryWithoutRoom();
  void LogChange(bool failed, const absl::Status& status, size_t sessions);
  void CountUnsaved() {
    unsaved_ = waiting_.size() + no_room_.sessions.size() + (writing_ ? writing_->size() : 0);
    left_count_ = left_.size();
    refused_ = unsaved_ > 0 && (fails_ || !no_room_.sessions.empty());
  }
  void Written(const Batch& batch, const std::vector<PublicKey>& no_room, uint64_t ticket,
               const absl::Status& status);

  store::Committer* committer_;
  mutable std::mutex mutex_;
  std::condition_variable idle_;
  Batch waiting_;
  struct NoRoom {
    Batch sessions;
    bool told = false;
    bool retries = false;  // `waiting_` or the batch under way has some of them
    absl::Duration next_try;
  };
  NoRoom no_room_;  // those that the file has no room for; see RetryWithoutRoom
  std::shared_ptr<const Batch> writing_;  // the batch at the committer, or null
  uint64_t tickets_ = 0;
  uint64_t saved_ = 0;
  absl::flat_hash_set<PublicKey> left_;  // in one of the three, and in no device
  std::atomic<size_t> unsaved_{0};       // in all three
  std::atomic<size_t> left_count_{0};
  std::atomic<bool> fails_{false}, refused_{false};
  std::atomic<uint64_t> generation_{0};
};

}  // namespace wicket::installer
