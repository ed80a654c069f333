// A WireGuard device: its keys, its peers, and changes to them.
//
// Two backends: `netlink`, the kernel's driver, and `uapi`, the socket of user-space
// implementations. Callers of a Device need not know which.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/peer.h"
#include "base/status.h"

namespace wicket::wgdev {

// A device's own settings.
// Secrets: holds the private key. Keep it only until the key is copied into locked memory.
struct DeviceInfo {
  int ifindex = 0;
  uint16_t listen_port = 0;
  PublicKey public_key;
  Secret<kKeyBytes> private_key;  // all zero: it has none, and `public_key` means nothing
};

struct PeerInstall {
  const PeerConfig* config = nullptr;
  Endpoint endpoint;  // family kNone: left for the device to learn
  // Role inversion: the device sends an initiation to `endpoint` immediately.
  bool initiate = false;
  // Installs the peer without its keepalive; see SetKeepalives.
  bool hold_keepalive = false;
  // Allowed IPs that the device has and the configuration has not are removed. The kernel drops
  // data of an installed peer for a few microseconds during the replacement.
  bool replace_allowed_ips = true;
};

// A hash of a peer's configuration: equal ones have equal digests, and different ones almost never
// do. Parts may be added in any order. Not stable across processes.
class ConfigDigest {
 public:
  void AddPresharedKey(const uint8_t* key);  // kKeyBytes; all zero: none
  void AddKeepalive(uint16_t seconds);
  void AddAllowedIp(const Prefix& prefix);
  bool operator==(const ConfigDigest&) const = default;

 private:
  uint64_t sum_ = 0;
};
// `hold_keepalive`: the digest of a peer installed with PeerInstall::hold_keepalive.
ConfigDigest DigestOf(const PeerConfig& config, bool hold_keepalive = false);

struct PeerStats {
  PublicKey public_key;
  // Covers only the first allowed ips when one message cannot hold all of the peer's.
  ConfigDigest digest;
  Endpoint endpoint;
  absl::Time last_handshake = absl::UnixEpoch();  // UnixEpoch: no confirmed session so far
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;
};

// A walk over the peers of a device, in chunks, while the peers may change.
class Dump {
 public:
  virtual ~Dump() = default;
  // Appends the next chunk. Returns: false when the walk has ended, perhaps with this chunk.
  virtual absl::StatusOr<bool> Next(std::vector<PeerStats>* peers) = 0;
  // True when the walk may have missed peers: absence from it then proves nothing.
  virtual bool interrupted() const = 0;
  // The device's public key and port, valid once the walk has ended. Both backends report them in
  // every dump, so a change is noticed without a request for it.
  virtual PublicKey public_key() const = 0;
  virtual uint16_t listen_port() const = 0;
};

// Thread: one at a time.
class Device {
 public:
  virtual ~Device() = default;

  // Errors: NotFound when the device does not exist.
  virtual absl::StatusOr<DeviceInfo> ReadInfo() = 0;

  // Creates or updates peers.
  // Returns: a result for each peer, in order. A failure affects only the peer that caused it.
  // Errors:  NotFound when the device is gone, Unavailable when it does not answer in 10 s; both
  //          for all peers from there on. After Unavailable the change may still be made.
  virtual std::vector<absl::Status> Install(std::span<const PeerInstall> peers) = 0;

  // Sets the persistent keepalive of installed peers to that of their configuration. With a
  // keepalive and no session a device keeps sending initiations to whatever endpoint it knows. So
  // a peer is installed without one until its session is confirmed.
  // Returns, Errors: as of Install().
  virtual std::vector<absl::Status> SetKeepalives(std::span<const PeerConfig* const> peers) = 0;

  // Removes peers. A peer that is not there counts as removed. Returns, Errors: as of Install().
  virtual std::vector<absl::Status> Remove(std::span<const PublicKey> peers) = 0;

  virtual absl::StatusOr<std::unique_ptr<Dump>> StartDump() = 0;

  virtual absl::string_view backend() const = 0;
};

enum class Backend { kAuto, kNetlink, kUapi };

// Opens the device `name` in this process's network namespace.
//
// kAuto chooses the UAPI socket if it exists, and Netlink otherwise.
// Errors: NotFound, which names what was looked for and where; Unimplemented for an interface of
//         another kind, or a kernel without WireGuard.
// `progress`: called after each part of a long answer. Empty: nobody wants to know.
absl::StatusOr<std::unique_ptr<Device>> Open(const std::string& name, Backend backend,
                                             std::function<void()> progress = {});

// Returns: the interface index of `name`, or 0 when there is none. Does not wait for RTNL.
int InterfaceIndex(const std::string& name);

// Calls `apply` on [0, count) in slices of at most `slice` items. A slice that fails is bisected
// until each failing item is found alone.
// Requires: `apply` is idempotent.
//
// Returns: a status for each item. NotFound from `apply` means that the device is gone,
//          Unavailable that it does not answer; both end the search.
std::vector<absl::Status> ApplyBisecting(
    size_t count, size_t slice, const std::function<absl::Status(size_t begin, size_t end)>& apply);

}  // namespace wicket::wgdev
