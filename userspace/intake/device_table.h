// The devices for which arrivals are judged.
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

// Peers in a device that the store does not hold for that device.
using ForeignPeers = absl::flat_hash_set<PublicKey>;

// One immutable table. The gateway publishes a new one when anything in it changes.
struct DeviceTable {
  struct Entry {
    std::string name;
    uint16_t port = 0;
    std::shared_ptr<const crypto::Locked<noise::Identity>> identity;  // null: not served
    // Their initiations are proven like any other and given back, but the peers are not installed,
    // and removed only where the device is `owned`. Null: none.
    std::shared_ptr<const ForeignPeers> foreign;
    uint64_t handshakes_per_second = 0;  // budget of one shard; to be set, at least 1
    // Both lie in the installer, which outlives the shards; null: not looked at.
    //
    // Set by the installer when its probation slots run low: senders are asked for a cookie first.
    const std::atomic<bool>* crowded = nullptr;
    // Set by the installer: its latest heartbeat, in SteadyNanos().
    const std::atomic<uint64_t>* installer_beat_ns = nullptr;
  };
  std::vector<Entry> devices;  // by index in the configuration
  // Null only while no device is served.
  std::shared_ptr<const noise::CookieSecrets> cookies;
  uint64_t cookie_interval_ns = 0;  // between two cookie replies of a shard; 0: no limit
};

}  // namespace wicket::intake
