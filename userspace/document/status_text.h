// What the daemon says of itself, as the file that `wicket status` reads.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/histogram.h"
#include "base/key.h"
#include "base/status.h"

namespace wicket::document {

// A histogram as Prometheus has it: cumulative, over fixed bounds. It is since the start; a NIC's,
// since the NIC came up.
struct HistogramStatus {
  std::vector<uint64_t> up_to;  // samples up to each bound of its unit; empty: not known
  uint64_t count = 0;
  double sum = 0;  // in the unit
};
// Bounds in seconds, and in frames.
inline constexpr double kSecondsBounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005,
                                            0.01,   0.025,   0.05,   0.1,   0.25,   0.5,
                                            1,      2.5,     5,      10};
inline constexpr double kFramesBounds[] = {1, 4, 16, 64, 128, 256, 512, 1024, 1536, 2048};
HistogramStatus SecondsOf(const Histogram& nanoseconds);
HistogramStatus FramesOf(const Histogram& frames);

// A thread of the daemon.
struct ThreadStatus {
  std::string name;
  // Since it last made progress; of one that sleeps between tasks, since the one under way began.
  double silent_s = 0;
};

// An RX queue, and the shard that serves it. Counts are since the NIC came up.
struct QueueStatus {
  uint64_t initiations = 0;  // that its shard has judged
  uint64_t ring_full = 0;    // frames that found its ring full
  uint64_t ring_dropped = 0;
  bool under_load = false;
  double wait_p99_ms = 0;  // as of a NIC
};

// Counts are since it came up. Of one that is away only the first three are set.
struct NicStatus {
  std::string name;
  std::string xdp_mode;     // "native", "generic", "away"
  std::string away_reason;  // why the last try failed; empty: it is up, or none has failed since
  bool shared = false;      // beside other XDP programs
  std::string reinject;     // "live", "raw", "invert", "wait"
  std::string reinject_reason;
  uint32_t queues = 0;
  bool zero_copy = false;
  uint64_t ring_full = 0;
  uint64_t ring_dropped = 0;
  uint64_t lost_lately = 0;  // of both, in the last ten minutes
  bool under_load = false;   // one of its shards at least
  uint64_t load_raised = 0;  // times that one came under load
  // Of the last ten to twenty seconds: how long a frame waited for the frames before it; 0: none
  // waited.
  double wait_p99_ms = 0;
  HistogramStatus wait;                // of a batch's oldest frame, where it waited at all
  HistogramStatus ring_waiting;        // frames in a ring when a batch was taken from it
  std::vector<QueueStatus> per_queue;  // in their order; `queues` of them
};

// Of an installed peer that has series of its own.
struct PeerTraffic {
  PublicKey public_key;
  // For the metrics only, else empty: up to 16 prefixes, and its label `friendly_name`.
  std::string allowed_ips, friendly_name;
  uint64_t received_bytes = 0, sent_bytes = 0;
  absl::Time last_handshake = absl::UnixEpoch();
};

struct DeviceStatus {
  std::string name;
  std::string backend;      // "netlink", "uapi", "away"
  std::string away_reason;  // as of a NIC
  std::string public_key;   // base64
  uint16_t port = 0;
  uint64_t installed = 0;  // peers of ours in the device
  uint64_t installed_unconfirmed = 0;
  // Peers in the device that the store does not hold for this device: it does not know them, or
  // holds them for another.
  uint64_t foreign = 0;
  double silent_s = 0;       // since its thread last made progress; beyond 2: it does not answer
  double dumped_s_ago = -1;  // since its peers were last read completely; -1: never
  std::map<std::string, uint64_t> counts;  // installs, evictions, ...
  uint64_t install_errors_lately = 0;      // of the last ten minutes
  // Of the last ten to twenty seconds:
  uint64_t install_count = 0;  // samples behind the two figures below
  double install_p50_ms = 0;   // packet seen by the shard to given back to the kernel
  double install_p99_ms = 0;
  HistogramStatus given_back;  // packet seen by the shard to given back to the kernel
  HistogramStatus confirmed;   // initiation at the installer to the session's first data
  HistogramStatus dump;        // a read of all the device's peers
  // The limits of the configuration.
  uint64_t installed_max = 0;
  uint64_t probation_max = 0;
  std::vector<PeerTraffic> busiest;  // in no order; empty unless configured
  uint64_t peers_capped = 0;         // installed peers that are not in it
};

// Of the last second.
struct DefenceStatus {
  bool attack = false;  // now, or within the last 10 s
  absl::Time attack_since;
  bool under_load = false;
  uint64_t sources = 0;  // about how many were refused, by the program or by shards
  double proven_per_s = 0;
  // By the names of verdicts and steering, and of DeviceStatus::counts.
  std::map<std::string, double> refused_per_s;
};

// What the series of single peers are called; each is what dashboards of another exporter expect.
enum class PeerNames {
  kTotals,  // wireguard_sent_bytes_total, of prometheus_wireguard_exporter
  kPeer,    // wireguard_peer_transmit_bytes_total, of wireguard_exporter
};

// A CIDR of an address pool.
struct PoolStatus {
  std::string name, device, cidr;
  double size = 0;  // addresses that can be given out
  // Given out or skipped so far; those released since wait to be given out again.
  double used = 0;
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
  uint64_t store_bytes = 0, store_bytes_max = 0;
  uint64_t unsaved_sessions = 0;      // records in memory, on their way to the store
  bool store_refuses_writes = false;  // so they wait
  uint64_t clock_steps = 0;           // of the wall clock, since the start
  uint64_t clock_steps_lately = 0;    // of the last ten minutes
  std::vector<PoolStatus> pools;
  uint64_t released_prefixes = 0;  // of peers that are gone, in all pools, for new ones
  HistogramStatus commit;          // of the store's transactions
  std::vector<ThreadStatus> threads;
  std::vector<NicStatus> nics;
  std::vector<DeviceStatus> devices;
  DefenceStatus defence;
  std::map<std::string, uint64_t> verdicts;  // by intake::ToString(Verdict)
  std::map<std::string, uint64_t> steering;  // by the texts of STEER_COUNTS
  PeerNames peer_names = PeerNames::kTotals;
};

// Returns: 0 for a name that is not there.
uint64_t CountOf(const std::map<std::string, uint64_t>& counts, const std::string& name);

// Without histograms and single peers.
std::string ToJson(const Status& status);
// Errors: InvalidArgument.
absl::StatusOr<Status> ParseStatus(absl::string_view text);

}  // namespace wicket::document
