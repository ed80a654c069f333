// What the daemon says of itself, as the file that `wicket status` reads.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/status.h"

namespace wicket::document {

struct NicStatus {
  std::string name;
  std::string xdp_mode;  // "native", "generic", "away"
  bool shared = false;   // beside other XDP programs
  std::string reinject;  // "live", "raw", "invert", "wait"
  std::string reinject_reason;
  uint32_t queues = 0;
  bool zero_copy = false;
  uint64_t ring_full = 0;
  uint64_t ring_dropped = 0;
  bool under_load = false;   // one of its shards at least
  uint64_t load_raised = 0;  // times that one came under load
  // Of the last ten to twenty seconds: how long a frame waited for the frames before it; 0: none
  // waited.
  double wait_p99_ms = 0;
};

struct DeviceStatus {
  std::string name;
  std::string backend;     // "netlink", "uapi", "away"
  std::string public_key;  // base64
  uint16_t port = 0;
  uint64_t installed = 0;  // peers of ours in the device
  uint64_t installed_unconfirmed = 0;
  // Peers in the device that the store does not hold for this device: it does not know them, or
  // holds them for another.
  uint64_t foreign = 0;
  double silent_s = 0;       // since its thread last made progress; beyond 2: it does not answer
  double dumped_s_ago = -1;  // since its peers were last read completely; -1: never
  std::map<std::string, uint64_t> counts;  // installs, evictions, ...
  // Of the last ten to twenty seconds:
  uint64_t install_count = 0;  // samples behind the two figures below
  double install_p50_ms = 0;   // packet seen by the shard to given back to the kernel
  double install_p99_ms = 0;
};

// Of the last second.
struct DefenceStatus {
  bool attack = false;  // now, or within the last 10 s
  absl::Time attack_since;
  bool under_load = false;
  uint64_t sources = 0;  // about how many were refused, by the program or by shards
  double proven_per_s = 0;
  std::map<std::string, double> refused_per_s;  // by the names of verdicts and steering
};

struct Status {
  std::string version;
  int pid = 0;
  absl::Time started;
  absl::Time written;
  std::string store_path;
  std::string pin_dir;
  std::string x25519;  // the back end of batches
  uint64_t stored_peers = 0;
  uint64_t store_bytes = 0;
  uint64_t unsaved_sessions = 0;  // records kept in memory until the store accepts writes
  uint64_t clock_steps = 0;       // of the wall clock, since the start
  std::vector<NicStatus> nics;
  std::vector<DeviceStatus> devices;
  DefenceStatus defence;
  std::map<std::string, uint64_t> verdicts;  // by intake::ToString(Verdict)
  std::map<std::string, uint64_t> steering;  // by the texts of STEER_COUNTS
};

std::string ToJson(const Status& status);
absl::StatusOr<Status> ParseStatus(absl::string_view text);

}  // namespace wicket::document
