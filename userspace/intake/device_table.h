// The devices that arrivals are judged for.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/key.h"
#include "noise/cookie.h"
#include "noise/identity.h"

namespace wicket::intake {

// Peers in a device that the store does not hold for it.
using ForeignPeers = absl::flat_hash_set<PublicKey>;

// One immutable table. The gateway publishes another when a key or a port changes.
struct DeviceTable {
  struct Entry {
    std::string name;
    uint16_t port = 0;
    std::shared_ptr<const crypto::Locked<noise::Identity>> identity;  // null: not served
    // Peers in the device that are not stored. Their initiations are proven like any other and
    // given back, but they are neither installed nor removed.
    std::shared_ptr<const ForeignPeers> foreign;
    uint64_t handshakes_per_second = 0;  // that one shard may prove
    // The installer's: its probation slots run out, so senders are asked for a cookie first.
    const std::atomic<bool>* crowded = nullptr;
    // The installer's last sign of life, in SteadyNanos().
    const std::atomic<uint64_t>* installer_beat_ns = nullptr;
  };
  std::vector<Entry> devices;  // by index of the configuration
  std::shared_ptr<const noise::CookieSecrets> cookies;
  uint64_t cookie_interval_ns = 0;  // from one cookie reply of a shard to its next; 0: no limit
};

}  // namespace wicket::intake
