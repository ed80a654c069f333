// Removes peers from the device, in steps. No I/O.
//
//   Begin    their time is over: their flows are forgotten, and they are leaving
//   Choose   a later dump shows them idle since: their sessions are to be saved
//   Await    notes the ticket of that save
//   Slice    saved, or kept in memory while the store cannot be written: removed next
//   Removed  notes whether the device has removed a peer
#pragma once

#include <deque>
#include <vector>

#include "installer/flow_change.h"
#include "installer/journal.h"
#include "installer/residents.h"
#include "store/snapshot.h"

namespace wicket::installer {

// Thread: one.
class Departures {
 public:
  explicit Departures(Journal* journal) : journal_(journal) {}

  FlowChanges Begin(Residents* residents, absl::Duration steady, Residents::Press press);
  // Returns: whether peers were chosen. The caller then saves the dirty sessions of the residents,
  //          since the device forgets endpoint, counters and stamps with a peer, and calls Await.
  bool Choose(Residents* residents);
  void Await(uint64_t ticket, absl::Duration steady);

  // What the saver says of the sessions that the chosen peers would leave behind.
  struct Saves {
    uint64_t saved_up_to = 0;
    bool fail = false;             // the last write did
    bool memory_has_room = false;  // for sessions that the store does not take
  };
  // Returns: whether the next slice may be removed: its save has reached the ticket, or saves fail
  // or
  //          take too long; and memory has room for sessions that the store does not take. Without
  //          room, the chosen peers stay.
  bool MayGo(const Saves& saves, absl::Duration steady, Residents* residents);
  // Requires: `snapshot` is renewed.
  // Returns:  up to `count` chosen peers. A revoked peer that is stored again stays.
  std::vector<PublicKey> Slice(Residents* residents, const store::Snapshot& snapshot,
                               absl::Time wall, size_t count);
  // Returns: whether the peer was revoked, so that its revocation can be forgotten.
  bool Removed(const PublicKey& key, const absl::Status& status, Residents* residents);

  bool waiting() const { return !chosen_.empty(); }
  void Clear() { chosen_.clear(); }

 private:
  Journal* journal_;
  std::deque<PublicKey> chosen_;
  uint64_t ticket_ = 0;
  absl::Duration patience_ends_;
};

}  // namespace wicket::installer
