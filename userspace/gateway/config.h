// The daemon's configuration file (TOML). docs/config.md is its reference.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/log.h"
#include "base/status.h"
#include "control/server.h"
#include "crypto/x25519_batch.h"
#include "store/store.h"
#include "wgdev/device.h"
#include "xsk/steering.h"

namespace wicket::gateway {

// How a proven initiation is answered.
enum class ReinjectMode {
  kAuto,    // live where the NIC can, raw otherwise
  kLive,    // into the NIC's receive path
  kRaw,     // through a raw socket
  kInvert,  // the device sends an initiation of its own
  kWait,    // the client's next try finds its peer installed
};
absl::string_view ToString(ReinjectMode mode);

struct NicConfig {
  std::string name;
  xsk::XdpMode xdp = xsk::XdpMode::kAuto;
  bool force_copy = false;
  bool cookies_by_tx = false;  // made and sent by the XDP program, not by a shard
};

struct DeviceConfig {
  std::string name;
  wgdev::Backend backend = wgdev::Backend::kAuto;
  absl::Duration evict_after = absl::Seconds(180);  // since the last handshake
  uint64_t installed_max = 65536;
  uint64_t probation_max = 16384;           // of them, without a confirmed session
  uint64_t handshakes_per_second = 50'000;  // that are proven, by all shards
  bool owned = false;                       // peers that the store does not know are removed
};

struct PoolConfig {
  std::string name;
  std::string device;
  std::vector<Prefix> cidrs;

  friend bool operator==(const PoolConfig&, const PoolConfig&) = default;
};

struct Config {
  std::string pin_dir = "/sys/fs/bpf/wicket";
  std::string status_file = "/run/wicket/status.json";
  LogLevel log_level = LogLevel::kInfo;
  ReinjectMode reinject = ReinjectMode::kAuto;
  bool pin_threads = true;
  uint64_t cookies_per_second = 1'000'000;  // cookie replies, of all queues
  crypto::X25519Backend x25519 = crypto::FastestX25519();
  store::Options store{.path = "/var/lib/wicket"};
  std::vector<NicConfig> nics;
  std::vector<DeviceConfig> devices;
  std::vector<PoolConfig> pools;
  control::Options control;
};

// Reads a configuration.
// Errors: InvalidArgument holds a line for every problem: "FILE:LINE: KEY: found X;
//         accepted: Y". NotFound and others when the file cannot be read.
absl::StatusOr<Config> LoadConfig(const std::string& path);
absl::StatusOr<Config> ParseConfig(absl::string_view text, const std::string& name);

}  // namespace wicket::gateway
