// The daemon's configuration file (TOML). docs/configuration.md is its reference.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/log.h"
#include "base/status.h"
#include "crypto/x25519_batch.h"
#include "document/status_text.h"
#include "http/unix_gate.h"
#include "installer/options.h"
#include "reinject/mode.h"
#include "store/store.h"
#include "xsk/steering.h"

namespace wicket::gateway {

struct NicConfig {
  std::string name;
  xsk::XdpMode xdp = xsk::XdpMode::kAuto;
  bool force_copy = false;
  bool cookies_by_tx = false;  // made and sent by the XDP program, not by a shard
};

struct DeviceConfig : installer::Options {
  uint64_t handshakes_per_second = 50'000;  // the most that all shards together prove
};

struct PoolConfig {
  std::string name;
  std::string device;
  std::vector<Prefix> cidrs;

  friend bool operator==(const PoolConfig&, const PoolConfig&) = default;
};

struct MetricsConfig {
  uint64_t peers = 0;  // the most of each device that have series of their own; 0: none
  document::PeerNames peer_names = document::PeerNames::kTotals;
};

struct Config {
  std::string path;  // of the file it was read from
  std::string pin_dir = "/sys/fs/bpf/wicket";
  std::string status_file = "/run/wicket/status.json";
  LogLevel log_level = LogLevel::kInfo;
  reinject::Mode reinject = reinject::Mode::kAuto;
  bool pin_threads = true;
  uint64_t cookies_per_second = 1'000'000;  // cookie replies, of all queues
  crypto::X25519Backend x25519 = crypto::FastestX25519();
  store::Options store{.path = "/var/lib/wicket"};
  // How long an expired peer is kept before it is deleted; a restart or a step of the clock begins
  // that time again.
  absl::Duration store_keeps_expired = absl::Minutes(10);
  MetricsConfig metrics;
  std::vector<NicConfig> nics;
  std::vector<DeviceConfig> devices;
  std::vector<PoolConfig> pools;
  http::UnixOptions control;
  std::vector<std::string> notes;  // on the file, which is right: "FILE:LINE: NOTE"
};

// Reads a configuration.
// Errors: InvalidArgument holds a line for every problem: "FILE:LINE: KEY: found X;
//         accepted: Y". Of a file that is no TOML it holds the first problem only, in another
//         form: "FILE:LINE: PROBLEM; accepted: TOML". NotFound and others when the file cannot
//         be read.
absl::StatusOr<Config> LoadConfig(const std::string& path);
// The same of a text. `name` stands for FILE; Config::path stays empty.
absl::StatusOr<Config> ParseConfig(absl::string_view text, const std::string& name);
// The keys of the file, as KeyReference::text().
std::string ConfigReference();

}  // namespace wicket::gateway
