// Free addresses for new peers, out of the CIDRs of a pool.
//
//   offset in a CIDR
//   0          2                   next                     end
//   | reserved | given out before  | never given out so far | reserved (IPv4)
//              |
//              +- released -> queue, the longest unused first
//
// Allocate takes the head of the queue, or the address at `next` when the queue is empty.
// Offsets 0 and 1 are reserved for the network and the device, the last offset of an IPv4
// CIDR for broadcast.
//
// A peer may also be stored with a prefix that is not from Allocate, which skips the
// addresses that the prefix covers, unless it is wider than the CIDR. A released prefix is one
// entry of the queue, and is split in halves when it reaches the head. A prefix beyond `next` is
// not queued.
//
// The tables `allocators`, `released` and `released_at` hold this; see record.h.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "absl/numeric/int128.h"
#include "base/address.h"
#include "base/status.h"
#include "store/tables.h"
#include "store/transaction.h"

namespace wicket::store {

// How much of a CIDR has been given out.
struct CidrUse {
  double size = 0;  // addresses that can be given out
  double used = 0;  // those that were, ever, or are skipped; some may have been released since
};
// `next`: as the table `allocators` has it; nullopt: nothing was given out so far.
// Requires: the CIDR has at least 4 addresses.
CidrUse UseOf(const Prefix& cidr, std::optional<absl::uint128> next);

// The pools of all devices, in one transaction.
//
// Requires: each CIDR has at least 4 addresses.
// Lifetime: the transaction outlives it.
class AddressPool {
 public:
  AddressPool(Transaction* txn, const Tables& tables) : txn_(txn), tables_(tables) {}

  // Takes a free address out of the first of `cidrs` that has one. The caller must store a
  // peer with it, or Release it: otherwise the address is lost to the pool.
  // Errors: ResourceExhausted when all addresses are in use, or the file has no room;
  //         Unavailable when this call reached its limit of used addresses to skip: commit,
  //         and call again.
  absl::StatusOr<Prefix> Allocate(absl::string_view device, const std::vector<Prefix>& cidrs);
  // Returns a prefix to its pools: one of a deleted peer, or an address from Allocate that
  // no peer was stored with. A prefix outside all pools is ignored.
  absl::Status Release(absl::string_view device, const Prefix& prefix);

 private:
  struct Allocator {
    std::string key;  // PrefixKey(device, cidr)
    Prefix cidr;
    absl::uint128 next;  // the first offset that was never given out
  };

  absl::Status LoadAllocators();
  absl::StatusOr<Allocator*> AllocatorOf(absl::string_view device, const Prefix& cidr);
  absl::Status PutReleased(const std::string& allocator, const std::string& time,
                           const Prefix& part);
  absl::StatusOr<std::optional<Address>> TakeReleased(absl::string_view device,
                                                      const Allocator& allocator);
  absl::StatusOr<std::optional<Address>> TakeNext(absl::string_view device, Allocator* allocator);
  bool IsFree(absl::string_view device, const Prefix& cidr, const Address& address) const;

  Transaction* txn_;
  Tables tables_;
  std::optional<std::vector<Allocator>> allocators_;  // read when first needed
};

}  // namespace wicket::store
