// Chooses the peers that the caller removes, in steps. No I/O but reads of a snapshot, and the log.
//
//   Begin    their time is over: their flows are forgotten, and they are leaving
//   Choose   a later dump shows them idle since, or they are revoked: their sessions are to be
//   saved Await    notes the ticket of that save Slice    saved, or kept in memory while the store
//   cannot be written: removed next Removed  notes whether the device has removed a peer
#pragma once

#include <deque>
#include <vector>

#include "absl/functional/function_ref.h"
#include "installer/flow_change.h"
#include "installer/journal.h"
#include "installer/residents.h"
#include "store/snapshot.h"

namespace wicket::installer {

// Thread: one.
class Departures {
 public:
  explicit Departures(Journal* journal) : journal_(journal) {}

  // Returns: the flows to forget, and those to note again, of peers that came back past us.
  FlowChanges Begin(Residents* residents, absl::Duration steady, Residents::Press press);
  // Returns: whether peers were chosen. The caller then saves the dirty sessions of the residents,
  //          since the device forgets endpoint, counters and stamps with a peer, and calls Await.
  bool Choose(Residents* residents);
  void Await(uint64_t ticket, absl::Duration steady);

  // `saved_up_to`, `saves_fail`: as the saver says, the latter of its last write.
  // Returns: whether the next slice may be removed: its save has reached the ticket, or saves fail
  //          or take longer than 10 s.
  bool MayGo(uint64_t saved_up_to, bool saves_fail, absl::Duration steady) const;
  // `is_kept`: whether the peer's session is durable, or memory has room to keep it.
  // Requires: `snapshot` is renewed.
  // Returns:  up to `count` chosen peers. A stored peer whose session would be lost stays, and so
  //           does a revoked peer that is stored again, not expired and within its quota.
  std::vector<PublicKey> Slice(Residents* residents, const store::Snapshot& snapshot,
                               absl::Time wall, size_t count,
                               absl::FunctionRef<bool(const PublicKey&)> is_kept);
  // Takes the peer out of the residents; on an error it stays. Requires: `key` is of the last
  // Slice. Returns: whether it left as revoked, so that a revocation of it, if any, can be
  // forgotten.
  bool Removed(const PublicKey& key, const absl::Status& status, Residents* residents);

  bool waiting() const { return !chosen_.empty(); }
  // Forgets the chosen peers. Requires: the residents are cleared too.
  void Clear() { chosen_.clear(); }

 private:
  Journal* journal_;
  std::deque<PublicKey> chosen_;
  uint64_t ticket_ = 0;
  absl::Duration patience_ends_;
};

}  // namespace wicket::installer
