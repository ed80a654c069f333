// Makes the peers in the device agree with the store.
#pragma once

#include <deque>
#include <vector>

#include "installer/hand.h"
#include "installer/journal.h"
#include "installer/residents.h"
#include "store/committer.h"

namespace wicket::installer {

// `snapshot`: renewed and released here.
//
// Thread: one. Lifetime: the pointers outlive it.
class Reconciler {
 public:
  Reconciler(Hand* hand, Residents* residents, Journal* journal, store::Committer* committer)
      : hand_(hand), residents_(residents), journal_(journal), committer_(committer) {}

  // Queues a peer whose settings in the device differ from the stored ones.
  void AddOutdated(const PublicKey& key) { outdated_.push_back(key); }
  // Queues a peer that has a session and whose keepalive is to be set. With a keepalive and no
  // session a device keeps sending initiations to whatever endpoint it knows.
  void AddKeepalive(const PublicKey& key) { keepalives_.push_back(key); }
  bool has_work() const { return !outdated_.empty() || !keepalives_.empty() || !revoked_.empty(); }
  // Corrects a slice of each queue. Returns: false when the device is gone.
  // Requires: the device is there.
  bool Step(store::Snapshot* snapshot);
  void Clear();

  // Applies a change of the store to a peer in the device. `swept`: see Census::swept().
  // Errors: those of the snapshot and the device; OK while the device is away.
  absl::Status Sync(const PublicKey& key, bool swept, store::Snapshot* snapshot);
  // Queues peers that were deleted at a time when they could not be removed from the device:
  // before a crash, before they were adopted, or by another process.
  // In place of those named before; a dump shows them until they are removed.
  void SetRevoked(const std::vector<PublicKey>& revoked) {
    revoked_.assign(revoked.begin(), revoked.end());
  }
  // Removes those of `foreign` that are stored for no device.
  void RemoveForeign(const std::vector<PublicKey>& foreign,
                                       store::Snapshot* snapshot);
  // Forgets the revocation of a peer that has left the device.
  void ForgetRevoked(const PublicKey& key);
  void ForgetRevokedBefore(absl::Time before);

 private:
  std::vector<store::Peer> TakeStored(std::deque<PublicKey>* from, store::Snapshot* snapshot);
  void RemoveRevoked();
  bool Correct(store::Snapshot* snapshot);
  bool SetKeepalives(store::Snapshot* snapshot);
  absl::Status Update(const PeerConfig& config);
  absl::Status SyncRemoved(const PublicKey& key, bool revoked, bool swept);

  Hand* hand_;
  Residents* residents_;
  Journal* journal_;
  store::Committer* committer_;
  std::deque<PublicKey> outdated_, keepalives_, revoked_;
};

}  // namespace wicket::installer
