// What the addresses that connect have open, and how often their tokens were not right.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/address.h"

namespace wicket::edge {

// One IPv4 address, or one IPv6 /64, counts as one caller. All of an IPv6 /48 have the connections
// of kSiteCallers together. Of at most kCallersMax the failures are remembered: beyond that, those
// of some other are forgotten. A caller that has used up its failures may try no token until
// one failure is refilled, at `failures_per_minute`.
//
// Thread: any.
class Callers {
 public:
  static constexpr size_t kCallersMax = 65'536;
  static constexpr uint64_t kSiteCallers = 3;

  Callers(uint64_t connections_max, uint64_t failures_per_minute)
      : connections_max_(connections_max), failures_per_minute_(failures_per_minute) {}

  // Returns: a place, which is free again when it is destroyed; null when there is none.
  std::shared_ptr<void> Enter(const Address& address);
  // Whether a token may be tried.
  bool MayTry(const Address& address, absl::Duration steady);
  // Returns: whether the caller has used up its failures by this one.
  bool NoteFailure(const Address& address, absl::Duration steady);
  size_t remembered() const;  // callers whose failures are
  // Since the start: connections that Enter() refused, and failures.
  uint64_t refused_connections() const { return refused_connections_.load(); }
  uint64_t failures() const { return failures_.load(); }

 private:
  struct Bucket {
    double left = 0;
    absl::Duration filled;
  };

  Bucket* Find(const Address& caller, absl::Duration steady);
  void Leave(const Address& address);

  const uint64_t connections_max_, failures_per_minute_;
  std::atomic<uint64_t> refused_connections_{0}, failures_{0};
  mutable std::mutex mutex_;
  // Of callers, and of sites; without zero counts.
  absl::flat_hash_map<Address, uint64_t> connections_, of_sites_;
  absl::flat_hash_map<Address, Bucket> failed_;
};

}  // namespace wicket::edge
