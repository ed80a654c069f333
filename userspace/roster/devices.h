// The devices behind the store, as a change of peers and an operator's question need them.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/key.h"
#include "base/status.h"
#include "store/record.h"

namespace wicket::roster {

// What the device's own thread knows of a peer.
struct Installed {
  // "probation", "established" or "leaving"; null: not in the device, but the store does not have
  // its last session yet.
  const char* state = nullptr;
  store::Session session;  // the stored one, or newer
};
using InstalledByKey = absl::flat_hash_map<PublicKey, Installed>;

// The base class stands for a store with no devices: nothing is installed.
//
// Each question waits for the device's thread to come to it between two batches, for at most
// kPatience; Sync() does so for each 16 keys, until one slice has no answer. One question for a
// page of peers interrupts that thread once.
// Errors: Unavailable when the device's thread did not answer in time.
// Thread: any.
class Devices {
 public:
  static constexpr absl::Duration kPatience = absl::Seconds(5);

  virtual ~Devices() = default;
  // Whether a device of this name is configured; here, whether the name can be one.
  virtual bool Has(absl::string_view device) const {
    return !device.empty() && device.size() <= store::kDeviceNameBytesMax;
  }
  // The device's own public key; nullopt while it is not known. Waits for nobody.
  virtual std::optional<PublicKey> OwnKey(absl::string_view /*device*/) const {
    return std::nullopt;
  }
  // Those of `keys` that are in the device, or have left it with a session that is not saved yet.
  virtual absl::StatusOr<InstalledByKey> Find(absl::string_view /*device*/,
                                              std::span<const PublicKey> /*keys*/) {
    return InstalledByKey{};
  }
  // Installed peers after `after` in key order, at most `count`.
  virtual absl::StatusOr<std::vector<PublicKey>> List(absl::string_view /*device*/,
                                                      const std::optional<PublicKey>& /*after*/,
                                                      size_t /*count*/) {
    return std::vector<PublicKey>{};
  }
  // Makes the device agree with the store about these peers where they are installed: a peer that
  // is not stored is removed, a peer that is stored is updated.
  // Requires: what the store says of them is committed. No handshake that began before that commit
  //           puts them back.
  // Returns:  a result for each key, in order. After Unavailable the change is still under way.
  //           Other errors are the device's, and those of reading the store.
  virtual std::vector<absl::Status> Sync(absl::string_view /*device*/,
                                         std::span<const PublicKey> keys) {
    return std::vector<absl::Status>(keys.size());
  }
  // Takes deleted peers out where they are installed. Does not wait.
  virtual void SyncLater(absl::string_view /*device*/, std::vector<PublicKey> /*keys*/) {}
  // Forgets the replay mark of an installed peer too, and of one whose session is not saved yet.
  // After Unavailable that is still under way.
  virtual absl::Status ForgetMark(absl::string_view /*device*/, const PublicKey& /*key*/) {
    return absl::OkStatus();
  }
};

}  // namespace wicket::roster
