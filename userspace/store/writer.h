// The writing transaction.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/numeric/int128.h"
#include "base/fd.h"
#include "base/status.h"
#include "store/record.h"
#include "store/tables.h"

struct MDB_txn;

namespace wicket::store {

// Dropped without Commit, it leaves no trace.
//
// Thread: one at a time in all processes; Store::Write waits for its turn.
class Writer {
 public:
  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) = delete;
  ~Writer();

  // Creates or replaces a peer and its entries in the indexes.
  // Errors: AlreadyExists when a prefix is another peer's, or the peer another device's;
  //         InvalidArgument when the format cannot hold it; ResourceExhausted when it is new, or
  //         grows, and the file has no more room than deletions need; nothing is then written.
  absl::Status PutPeer(const Peer& peer);
  // The errors that PutPeer would give, without writing.
  absl::Status CheckPeer(const Peer& peer) const;
  // Deletes a peer; it is revoked until ForgetRevoked. Errors: NotFound.
  absl::Status DeletePeer(const PublicKey& key);
  // The peer is out of its device.
  absl::Status ForgetRevoked(absl::string_view device, const PublicKey& key);
  // The same of all peers of the device that were deleted before `before`.
  absl::Status ForgetRevokedBefore(absl::string_view device, absl::Time before);
  // Errors: NotFound; DataLoss when the record is damaged.
  absl::StatusOr<Peer> FindPeer(const PublicKey& key) const;

  // Takes a free address out of the first of `cidrs` that has one, for the PutPeer
  // that must follow. Addresses that come back are given out again, the longest
  // unused first; those that a wider prefix covers are not given out. The first two
  // of a CIDR and IPv4's broadcast address are left to the network and the device.
  // Errors: ResourceExhausted when all are in use; Unavailable when this call has
  //         skipped as many used ones as one call may: commit, and ask again.
  absl::StatusOr<Prefix> Allocate(absl::string_view device, const std::vector<Prefix>& cidrs);
  // Gives back what Allocate took, for a peer that is not put after all.
  absl::Status Release(absl::string_view device, const Prefix& address) {
    return NoteReleased(device, address);
  }

  // Deletes at most `count` peers that expire at or before `now`, and returns them.
  absl::StatusOr<std::vector<Peer>> DeleteExpired(absl::Time now, size_t count);

  // Errors: ResourceExhausted as above, for a peer's first session.
  absl::Status PutSession(const PublicKey& key, const Session& session);
  absl::Status DeleteSession(const PublicKey& key);
  std::optional<Session> FindSession(const PublicKey& key) const;
  absl::StatusOr<bool> HasPeer(const PublicKey& key) const;

  // True when an error has spoilt the transaction: it can only be dropped. After
  // the errors that the calls above name, it goes on.
  bool spoilt() const { return spoilt_; }

  // Errors: the disk's; nothing is then written.
  absl::Status Commit();

 private:
  friend class Store;
  Writer(Fd turn, MDB_txn* txn, Tables tables, std::string path, uint64_t bytes_max)
      : turn_(std::move(turn)),
        txn_(txn),
        tables_(tables),
        path_(std::move(path)),
        bytes_max_(bytes_max) {}
  // Where an allocation goes on when nothing has come back.
  struct Allocator {
    std::string key;  // PrefixKey(device, cidr)
    Prefix cidr;
    absl::uint128 next;  // addresses from this offset on were never given out
  };

  absl::Status Put(unsigned table, absl::string_view key, absl::string_view value);
  absl::Status Delete(unsigned table, absl::string_view key, absl::string_view call);
  absl::Status Spoil(int code, absl::string_view call);
  absl::Status CheckRoom();
  absl::Status MapFull(absl::string_view call) const;
  absl::Status PutIndexes(const Peer& peer);
  absl::Status DeleteIndexes(const Peer& peer);
  absl::Status LoadAllocators();
  absl::StatusOr<Allocator*> AllocatorOf(absl::string_view device, const Prefix& cidr);
  absl::Status NoteReleased(absl::string_view device, const Prefix& prefix);
  absl::Status PutReleased(const std::string& allocator, const std::string& time,
                           const Prefix& part);
  absl::StatusOr<std::optional<Address>> TakeReleased(absl::string_view device,
                                                      const Allocator& allocator);
  bool IsFree(absl::string_view device, const Prefix& cidr, const Address& address) const;

  Fd turn_;  // outlives the transaction
  MDB_txn* txn_ = nullptr;
  Tables tables_{};
  std::string path_;
  uint64_t bytes_max_ = 0;
  bool spoilt_ = false;
  std::optional<absl::Status> room_;                  // judged when first needed
  std::optional<std::vector<Allocator>> allocators_;  // read when first needed
};

}  // namespace wicket::store
