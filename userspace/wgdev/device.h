// A WireGuard device: its keys, its peers, and changes to them.
//
// Two backends: `netlink`, the kernel's driver, and `uapi`, the socket of
// user-space implementations. The holder of a Device cannot tell which.
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
// Secrets: holds the private key; keep it no longer than it takes to copy it
//          into locked memory.
struct DeviceInfo {
  int ifindex = 0;
  uint16_t listen_port = 0;
  PublicKey public_key;
  Secret<kKeyBytes> private_key;
};

struct PeerInstall {
  const PeerConfig* config = nullptr;
  Endpoint endpoint;  // family kNone: the device learns it
  // Role inversion: the device sends an initiation to `endpoint` at once.
  bool initiate = false;
  // No keepalive yet; see SetKeepalives.
  bool hold_keepalive = false;
  // Allowed IPs that the device has and the configuration has not are removed. The kernel drops
  // data of an installed peer for some microseconds meanwhile.
  bool replace_allowed_ips = true;
};

// A number for a peer's configuration: equal ones have the same, and others hardly ever.
// Parts may come in any order. Not stable across processes.
class ConfigDigest {
 public:
  void AddPresharedKey(const uint8_t* key);  // kKeyBytes; zeros: none
  void AddKeepalive(uint16_t seconds);
  void AddAllowedIp(const Prefix& prefix);
  bool operator==(const ConfigDigest&) const = default;

 private:
  uint64_t sum_ = 0;
};
// `hold_keepalive`: as PeerInstall::hold_keepalive leaves it.
ConfigDigest DigestOf(const PeerConfig& config, bool hold_keepalive = false);

struct PeerStats {
  PublicKey public_key;
  // Of a peer with more allowed ips than one message holds: of the first ones only.
  ConfigDigest digest;
  Endpoint endpoint;
  absl::Time last_handshake = absl::UnixEpoch();  // UnixEpoch: no session was ever confirmed
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;
};

// A walk over the peers of a device, chunk by chunk, while they change.
class Dump {
 public:
  virtual ~Dump() = default;
  // Appends the next chunk. Returns: false when the walk has ended.
  virtual absl::StatusOr<bool> Next(std::vector<PeerStats>* peers) = 0;
  // True when peers may have been missed: absence then means nothing.
  virtual bool interrupted() const = 0;
  // The device's public key and port, once the walk has ended; both backends
  // tell them with every dump, so a change needs no question of its own.
  virtual PublicKey public_key() const = 0;
  virtual uint16_t listen_port() const = 0;
};

// Thread: one at a time.
class Device {
 public:
  virtual ~Device() = default;

  // Errors: NotFound when the device does not exist (any more).
  virtual absl::StatusOr<DeviceInfo> ReadInfo() = 0;

  // Creates or updates peers. Every peer gets its own result, in order.
  // A failure in the middle of a batch costs only the peer it belongs to.
  // Errors: NotFound for all when the device is gone.
  virtual std::vector<absl::Status> Install(std::span<const PeerInstall> peers) = 0;

  // Sets the persistent keepalive of installed peers as their configuration has it. A device that
  // is told of one sends initiations until it has a session, to whatever endpoint it knows: so a
  // peer that has not confirmed its session is installed without.
  virtual std::vector<absl::Status> SetKeepalives(std::span<const PeerConfig* const> peers) = 0;

  // Removes peers; one that is not there is removed successfully.
  virtual std::vector<absl::Status> Remove(std::span<const PublicKey> peers) = 0;

  virtual absl::StatusOr<std::unique_ptr<Dump>> StartDump() = 0;

  virtual absl::string_view backend() const = 0;
};

enum class Backend { kAuto, kNetlink, kUapi };

// Opens the device called `name` in this process's network namespace.
//
// kAuto takes the UAPI socket when there is one, and Netlink otherwise.
// Errors: NotFound says what was looked for and where.
absl::StatusOr<std::unique_ptr<Device>> Open(const std::string& name, Backend backend);

// The interface index of `name`, 0 when there is none.
int InterfaceIndex(const std::string& name);

// Runs `apply` on [0, count) in slices of at most `slice` and, where one fails,
// on ever smaller halves of it, so that each failing item is found alone.
// `apply` must be idempotent.
//
// Returns: a status per item. NotFound from `apply` means that the device is
//          gone, Unavailable that it does not answer; both end the search.
std::vector<absl::Status> ApplyBisecting(
    size_t count, size_t slice, const std::function<absl::Status(size_t begin, size_t end)>& apply);

}  // namespace wicket::wgdev
