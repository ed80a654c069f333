// Addresses for peers that come without one, out of the CIDRs that an operator names.
//
//   offset in a CIDR
//   0     2                         next                              end
//   |kept | each was given out once | none of these was given out yet | kept (IPv4)
//         +---- came back -----> released, a queue: the longest unused leaves first
//
// Allocate takes from the queue, and at `next` when the queue is empty. The addresses
// 0 and 1 are left to the network and the device, the last one of IPv4 to broadcast.
//
// A peer may also be stored with a prefix that covers addresses of a CIDR. Allocate
// passes over those. When that peer is deleted, the prefix joins the queue as one
// entry, and is halved step by step when its turn comes. What lies beyond `next` need
// not wait in the queue.
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

// The pools of all devices, within one transaction.
//
// Lifetime: the transaction outlives it.
class AddressPool {
 public:
  AddressPool(Transaction* txn, const Tables& tables) : txn_(txn), tables_(tables) {}

  // Takes a free address out of the first of `cidrs` that has one. It is not given out a
  // second time; a peer must be stored with it, or Release must follow.
  // Errors: ResourceExhausted when all are in use, or the file has no room;
  //         Unavailable when this call has skipped as many used addresses as one call
  //         may: commit, and ask again.
  absl::StatusOr<Prefix> Allocate(absl::string_view device, const std::vector<Prefix>& cidrs);
  // Takes back a prefix that a peer had, or that Allocate took and no peer got. A prefix
  // of no pool is ignored.
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
