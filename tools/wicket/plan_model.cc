#include "tools/wicket/plan_model.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gateway/config.h"
#include "installer/options.h"
#include "xdp/steer_abi.h"

namespace wicket::tools {
namespace {

constexpr double kRekey_s = 120;  // REKEY_AFTER_TIME
constexpr double kConfirm_s = 1;  // a slow client's first data
constexpr double kDeadProbation_s = 30;
constexpr double kDeadShare = 0.05;  // of newcomers, whose answer is lost on the way
constexpr double kQueueBytes = 8 << 20;
constexpr double kMapBytes = 16 << 20;  // flows, buckets, repeats
constexpr double kProcessBytes = 24 << 20;
constexpr double kPageBytes = 4096;
constexpr double kKernelPeersMax = 1 << 20;
constexpr auto kFlowsMax = static_cast<double>(STEER_FLOWS_MAX);
constexpr auto kQueuesMax = static_cast<double>(STEER_SLOTS_MAX);

std::string Bytes(double bytes) {
  if (bytes >= 1e9) return absl::StrFormat("%.2f GB", bytes / 1e9);
  return absl::StrFormat("%.0f MB", std::ceil(bytes / 1e6));
}

// The next power of two that leaves a quarter free.
uint64_t RoomFor(double count) {
  uint64_t room = 1024;
  while (static_cast<double>(room) * 0.75 < count) room *= 2;
  return room;
}

}  // namespace

Plan MakePlan(const Load& load, const Costs& costs, double cores) {
  // A session that stays makes a new handshake every two minutes. The program passes those of known
  // flows to the kernel. Its map forgets the flow that was used longest ago: where more are active
  // than it holds, any rekey may find its flow forgotten, and is proven again.
  const double rekeys = load.active / kRekey_s;
  const double unknown_flows = load.active > kFlowsMax ? rekeys : 0;
  const double returning = load.active / std::max(load.return_within_s, 1.0);
  const double newcomers = std::max(load.newcomers_per_s, returning);
  const double proofs = newcomers + unknown_flows;
  const double probation =
      newcomers * ((1 - kDeadShare) * kConfirm_s + kDeadShare * kDeadProbation_s);
  const double shard_cores =
      proofs / costs.proofs_per_s + load.strangers_per_s / costs.unknown_per_s;
  const double drop_cores = load.flood_per_s / costs.drops_per_s;
  const double kernel_cores = (newcomers + rekeys) / costs.kernel_handshakes_per_s;
  const double all_cores = shard_cores + drop_cores + kernel_cores;
  const double writes = 2 * newcomers + load.creates_per_s;  // a session in, a session out
  const double queues = std::clamp(std::ceil(cores), 1.0, kQueuesMax);

  Plan plan;
  plan.needs = {
      {"store", Bytes(load.stored * costs.store_bytes_per_peer),
       "on disk, and as page cache for look-ups that do not read the disk"},
      {"kernel memory", Bytes(load.active * costs.kernel_bytes_per_peer),
       "for the peers in the device; stored peers take none"},
      {"wicketd memory",
       Bytes(kProcessBytes + kMapBytes + queues * kQueueBytes +
             load.active * costs.wicketd_bytes_per_peer),
       absl::StrFormat("rings of %.0f queues, maps, installed peers", queues)},
      {"cores, wicketd", absl::StrFormat("%.2f", shard_cores + drop_cores),
       absl::StrFormat("%.0f proofs a second, what is forged in the driver", proofs)},
      {"cores, kernel", absl::StrFormat("%.2f", kernel_cores),
       absl::StrFormat("%.0f handshakes a second, %.0f of them rekeys; data comes on top",
                       newcomers + rekeys, rekeys)},
      {"disk writes", absl::StrCat(Bytes(writes * kPageBytes), "/s at most"),
       absl::StrFormat("%.0f changes a second, in common commits", writes)},
  };

  const installer::Options device;
  const gateway::Config config;
  const gateway::DeviceConfig configured;
  plan.limits = {
      {"installed_max", load.active, static_cast<double>(device.installed_max),
       "newcomers are refused as `full`",
       load.active > kKernelPeersMax
           ? std::string("more than a device may hold: a second device")
           : absl::StrCat("installed_max = ",
                          std::min(RoomFor(load.active), static_cast<uint64_t>(kKernelPeersMax)))},
      {"open probation slots", probation, static_cast<double>(device.probation_max) / 2,
       "newcomers are asked for a cookie first, and those that have none wait 5 s",
       absl::StrCat("probation_max = ", 2 * RoomFor(probation))},
      {"handshakes_per_second", proofs + load.strangers_per_s,
       static_cast<double>(configured.handshakes_per_second), "cookies are asked for",
       absl::StrCat("handshakes_per_second = ", RoomFor(proofs + load.strangers_per_s))},
      {"known flows", load.active, kFlowsMax,
       "rekeys of forgotten flows are proven again, a fraction of a core", ""},
      {"peers of a device", load.active, kKernelPeersMax, "the kernel takes no more",
       "a second device, or a second gateway"},
      {"installs of a device", newcomers, costs.installs_per_s,
       "newcomers wait, and those that wait 2.5 s try again",
       "a second device; with a user-space device or without BTF the limit is lower, and shared"},
      {"creates by the socket", load.creates_per_s, costs.creates_per_s, "callers wait",
       "wicket import, or more peers in a request"},
      {"cores", all_cores, cores, "the gateway is under load: cookies, then waits",
       "more cores, with a queue of the NIC each"},
      {"bytes_max of the store", load.stored * costs.store_bytes_per_peer, 64.0 * (1ull << 30),
       "creates are refused", "[store] bytes_max"},
  };
  std::sort(plan.limits.begin(), plan.limits.end(),
            [](const Limit& a, const Limit& b) { return a.share() > b.share(); });
  return plan;
}

}  // namespace wicket::tools
