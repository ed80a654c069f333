// The one place that every change of peers goes through.
//
//   control, import, expiry --> Roster: commit --> devices --> events --> the caller's answer
//
// The order is the rule, for each change. A device is never told of a change that a crash could
// still undo. Watchers are notified after the device has answered or has timed out; of an expiry,
// after the device has been told; of two concurrent changes of one peer, in either order.
// ResetReplay is told to the device before, too.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/status.h"
#include "document/peer_text.h"
#include "event/event_log.h"
#include "roster/devices.h"
#include "store/committer.h"

namespace wicket::roster {

// A named range that addresses are allocated from.
struct Pool {
  std::string device;
  std::vector<Prefix> ipv4, ipv6;  // one address is taken from each that is not empty
};
using Pools = std::map<std::string, Pool>;

// What a Put has stored.
struct Stored {
  store::Peer peer;
  bool created = false;
  bool changed = true;  // false: the same record was there before
};

// Errors:   those of the commit too; nothing is stored then. Unavailable is only a device's: a
//           commit's becomes Aborted.
// Thread:   any; on the committer's only DeleteExpired.
// Lifetime: nothing is owned. It outlives the `done` of each DeleteExpired.
class Roster {
 public:
  Roster(store::Committer* committer, Devices* devices, event::EventLog* events, Pools pools = {})
      : committer_(committer), devices_(devices), events_(events), pools_(std::move(pools)) {}

  // Creates or replaces a peer, or only creates it. A peer that keeps its pool keeps its addresses.
  //
  // Requires: the request names a device and a public key.
  // Errors:   InvalidArgument, with FieldOf(), for a pool that the device does not have and for
  //           the device's own key; AlreadyExists for a stored peer of an `only_new` request;
  //           InvalidArgument, AlreadyExists and ResourceExhausted as of store::Writer::PutPeer and
  //           Allocate; Aborted when the pool has too many used addresses in a row. Nothing is then
  //           stored.
  //           Unavailable: the peer is stored, but its device was not updated.
  absl::StatusOr<Stored> Put(const document::PeerRequest& request);

  struct PutAllResult {
    // One for each request that was judged, in order. Their errors are those of Put.
    std::vector<absl::StatusOr<Stored>> results;
    // Why the requests after these were not judged. They are not stored.
    absl::Status failed;
  };
  // The same for many, in one transaction or in as many as their allocations need. After each, a
  // device is updated in one call.
  PutAllResult PutAll(std::span<const document::PeerRequest> requests);

  // Deletes a peer. A device is told even when the peer is not stored: an earlier call may have
  // failed there.
  // Errors: NotFound; Unavailable: the peer is deleted, but its device may still have it.
  absl::Status Delete(absl::string_view device, const PublicKey& key);

  // Deletes at most `count` peers that expired at or before `expired_by`, and waits for nothing.
  // `done` receives the number deleted, on the committer's thread, after their devices and
  // the watchers were told.
  void DeleteExpired(absl::Time expired_by, size_t count,
                     std::function<void(const absl::StatusOr<size_t>&)> done);

  // Forgets which handshakes a peer has made: for a client whose clock went back.
  // Errors: NotFound; Unavailable: it is reset in the store, and its device did not answer.
  absl::Status ResetReplay(absl::string_view device, const PublicKey& key);

 private:
  // A committed change of a peer, as its device and watchers need it.
  struct Change {
    std::string device;
    PublicKey key;
    bool sync = true;  // the device may have the peer as it was before
    std::optional<event::Kind> kind;
  };
  enum class Wait { kForDevice, kNo };

  absl::StatusOr<const Pool*> Check(const document::PeerRequest& request) const;
  absl::Status Commit(store::Committer::Change change);
  std::vector<absl::Status> Tell(std::span<const Change> changes, Wait wait);
  void TellStored(std::vector<absl::StatusOr<Stored>>* stored);
  std::vector<absl::Status> Sync(const std::string& device, std::span<const PublicKey> keys);
  bool IsUnsynced(const PublicKey& key);

  store::Committer* committer_;
  Devices* devices_;
  event::EventLog* events_;
  const Pools pools_;
  std::mutex mutex_;
  // Peers whose device did not confirm the last change, so that the same Put, asked again, is
  // not taken for one that changes nothing. At most kUnsyncedMax.
  absl::flat_hash_set<PublicKey> unsynced_;
};

}  // namespace wicket::roster
