// What the addresses that connect have open, and how often their tokens were not right.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/address.h"

namespace wicket::edge {

// One IPv4 address, or one IPv6 /64, counts as one caller. Of at most kCallersMax the failures are
// remembered: beyond that, those of some other are forgotten. A caller that has used up its
// failures is refused until they are refilled, at `failures_per_minute`.
//
// Thread: any.
class Callers {
 public:
  static constexpr size_t kCallersMax = 65'536;

  Callers(uint64_t connections_max, uint64_t failures_per_minute)
      : connections_max_(connections_max), failures_per_minute_(failures_per_minute) {}

  // Returns: a place, which is free again when it is destroyed; null when there is none.
  std::shared_ptr<void> Enter(const Address& address);
  // Whether a token may be tried.
  bool MayTry(const Address& address, absl::Duration steady);
  void NoteFailure(const Address& address, absl::Duration steady);
  uint64_t failures() const;

 private:
  struct Bucket {
    double left = 0;
    absl::Duration filled;
  };

  static Address CallerOf(const Address& address);
  Bucket* Find(const Address& caller, absl::Duration steady);
  void Leave(const Address& caller);

  const uint64_t connections_max_, failures_per_minute_;
  mutable std::mutex mutex_;
  absl::flat_hash_map<Address, uint64_t> connections_;  // without zero counts
  absl::flat_hash_map<Address, Bucket> failed_;
  uint64_t failures_ = 0;
};

}  // namespace wicket::edge
