// Makes the device agree with the store.
#pragma once

#include <deque>
#include <vector>

#include "installer/hand.h"
#include "installer/journal.h"
#include "installer/residents.h"
#include "store/committer.h"

namespace wicket::installer {

// Thread: one. What is pointed to outlives it.
class Reconciler {
 public:
  Reconciler(Hand* hand, Residents* residents, Journal* journal, store::Committer* committer)
      : hand_(hand), residents_(residents), journal_(journal), committer_(committer) {}

  // The peer's settings in the device are not those stored.
  void AddOutdated(const PublicKey& key) { outdated_.push_back(key); }
  // The peer has a session, and its keepalive is to be set. A device that is told of a keepalive
  // sends initiations until it has a session, to whatever endpoint it knows.
  void AddKeepalive(const PublicKey& key) { keepalives_.push_back(key); }
  bool has_work() const { return !outdated_.empty() || !keepalives_.empty(); }
  // Does so for some peers of each kind. Returns: false when the device is gone.
  // Requires: the device is there.
  bool Step(store::Snapshot* snapshot);
  void Clear();

  // The store has changed what it holds of a peer. `swept`: a complete dump has shown the device.
  absl::Status Sync(const PublicKey& key, bool swept, store::Snapshot* snapshot);
  // Peers that were deleted while we could not take them out of the device: before a crash, before
  // they were adopted, by another process.
  void RemoveRevoked(const std::vector<PublicKey>& revoked);
  // Of `foreign`, removes the peers that no device's record holds. Returns: those removed.
  std::vector<PublicKey> RemoveForeign(const std::vector<PublicKey>& foreign,
                                       store::Snapshot* snapshot);
  // The peer is out of the device, so its revocation need not be remembered.
  void ForgetRevoked(const PublicKey& key);
  void ForgetRevokedBefore(absl::Time before);

 private:
  std::vector<store::Peer> TakeStored(std::deque<PublicKey>* from, store::Snapshot* snapshot);
  bool Correct(store::Snapshot* snapshot);
  bool SetKeepalives(store::Snapshot* snapshot);
  absl::Status SyncRemoved(const PublicKey& key, bool revoked, bool swept);

  Hand* hand_;
  Residents* residents_;
  Journal* journal_;
  store::Committer* committer_;
  std::deque<PublicKey> outdated_, keepalives_;
};

}  // namespace wicket::installer
