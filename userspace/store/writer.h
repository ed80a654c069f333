// The write transaction: peers, their index entries and their sessions.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/status.h"
#include "store/address_pool.h"
#include "store/record.h"
#include "store/tables.h"
#include "store/transaction.h"

namespace wicket::store {

// Destroyed without Commit, it leaves no trace.
//
// Thread: one at a time in all processes; Store::Write waits for its turn.
class Writer {
 public:
  Writer(Writer&&) noexcept = default;
  Writer& operator=(Writer&&) = delete;

  // Creates or replaces a peer and its entries in the indexes.
  // Errors: AlreadyExists when another peer has one of the prefixes, or the peer is stored
  //         for another device; InvalidArgument when the format cannot hold it;
  //         ResourceExhausted when the record is new, or grows, and the file has no more
  //         room than deletions need. Nothing is written then.
  absl::Status PutPeer(const Peer& peer);
  // The errors of PutPeer but for ResourceExhausted, without writing.
  absl::Status CheckPeer(const Peer& peer) const;
  // Deletes a peer. The key is revoked until ForgetRevoked, but not that of a damaged record, which
  // does not tell the device. Errors: NotFound.
  absl::Status DeletePeer(const PublicKey& key);
  // For a peer that has left its device.
  absl::Status ForgetRevoked(absl::string_view device, const PublicKey& key);
  // For all peers of a device that were deleted before `before`.
  absl::Status ForgetRevokedBefore(absl::string_view device, absl::Time before);
  // Errors: NotFound; DataLoss when the record is damaged.
  absl::StatusOr<Peer> FindPeer(const PublicKey& key) const;
  absl::StatusOr<bool> HasPeer(const PublicKey& key) const;

  // See AddressPool::Allocate.
  absl::StatusOr<Prefix> Allocate(absl::string_view device, const std::vector<Prefix>& cidrs) {
    return addresses_.Allocate(device, cidrs);
  }
  // See AddressPool::Release.
  absl::Status Release(absl::string_view device, const Prefix& address) {
    return addresses_.Release(device, address);
  }

  // Deletes at most `count` peers that expire at or before `expired_by`, and returns them.
  // The record decides, so a peer that was prolonged stays, whatever the index says.
  // Stale index entries count as well, so fewer than `count` peers may not be all.
  absl::StatusOr<std::vector<Peer>> DeleteExpired(absl::Time expired_by, size_t count);

  // Errors: ResourceExhausted as of PutPeer, for a peer's first session.
  absl::Status PutSession(const PublicKey& key, const Session& session);
  absl::Status DeleteSession(const PublicKey& key);
  std::optional<Session> FindSession(const PublicKey& key) const;

  // True after an error of LMDB in a change: the transaction can only be dropped. The errors that
  // are named above leave it usable.
  bool spoilt() const { return txn_->spoilt(); }

  // Errors: the disk's. Nothing is written then.
  absl::Status Commit() { return txn_->Commit(); }

 private:
  friend class Store;
  Writer(std::unique_ptr<Transaction> txn, const Tables& tables)
      : txn_(std::move(txn)), tables_(tables), addresses_(txn_.get(), tables) {}

  // The prefixes of `peer` that the index does not know as its own yet.
  // Errors: AlreadyExists when one belongs to another peer.
  absl::StatusOr<std::vector<Prefix>> MissingPrefixes(const Peer& peer) const;
  absl::Status PutIndexes(const Peer& peer);
  absl::Status DeleteIndexes(const Peer& peer);

  std::unique_ptr<Transaction> txn_;  // outlives the pools, which point to it
  Tables tables_;
  AddressPool addresses_;
};

}  // namespace wicket::store
