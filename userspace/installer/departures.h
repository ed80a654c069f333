// Takes peers out of the device, a step each at a time. No I/O.
//
//   Begin    their time is over: their flows are forgotten, they are leaving
//   Choose   a later dump shows them as idle as before: their sessions are to be saved
//   Await    the ticket of that save
//   Slice    saved, or kept in memory while the store cannot be written: to be removed now
//   Removed  the device has let go of a peer, or has not
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
  // Returns: whether peers were chosen. The caller then saves the residents' dirty sessions, since
  //          the device forgets endpoint, counters and stamps with a peer, and says Await.
  bool Choose(Residents* residents);
  void Await(uint64_t ticket, absl::Duration steady);

  // Whether the next slice may go: `saved_up_to` has reached the ticket; or it has not for long,
  // and `memory_has_room` for sessions that the store does not take. When neither holds for long,
  // the chosen peers stay.
  bool MayGo(uint64_t saved_up_to, bool memory_has_room, absl::Duration steady,
             Residents* residents);
  // A revoked peer that is stored again stays. Requires: `snapshot` is renewed.
  std::vector<PublicKey> Slice(Residents* residents, const store::Snapshot& snapshot,
                               absl::Time wall, size_t count);
  // Returns: whether the peer was revoked, and that can be forgotten.
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
