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

// The next power of two that leaves a quarter free.
double RoomFor(double count) {
  double room = 1024;
  while (room * 0.75 < count) room *= 2;
  return room;
}

// Empty: the setting has room enough as it is.
std::string Raise(const char* setting, double now, double wanted) {
  return wanted > now ? absl::StrFormat("%s = %.0f", setting, wanted) : "";
}

// A second, and cores.
struct Work {
  Work(const Load& load, const Costs& costs) {
    // A session that stays makes a new handshake every two minutes. The program passes those of
    // known flows to the kernel. Its map forgets the flow that was used longest ago: where more are
    // active than it holds, any rekey may find its flow forgotten, and is proven again.
    rekeys = load.active / kRekey_s;
    newcomers = std::max(load.newcomers_per_s, load.active / std::max(load.return_within_s, 1.0));
    proofs = newcomers + (load.active > kFlowsMax ? rekeys : 0);
    own_cores = proofs / costs.proofs_per_s + load.strangers_per_s / costs.unknown_per_s +
                load.flood_per_s / costs.drops_per_s;
    kernel_cores = (newcomers + rekeys) / costs.kernel_handshakes_per_s;
    on_probation = newcomers * ((1 - kDeadShare) * kConfirm_s + kDeadShare * kDeadProbation_s);
  }

  double rekeys, newcomers, proofs, own_cores, kernel_cores, on_probation;
};

std::vector<Need> NeedsOf(const Load& load, const Costs& costs, const Work& work, double cores) {
  const double writes = 2 * work.newcomers + load.creates_per_s;  // a session in, a session out
  const double queues = std::clamp(std::ceil(cores), 1.0, kQueuesMax);
  return {{"store", load.stored * costs.store_bytes_per_peer, "bytes",
           "on disk, and as page cache for look-ups that do not read the disk"},
          {"kernel memory", load.active * costs.kernel_bytes_per_peer, "bytes",
           "for the peers in the device; stored peers take none"},
          {"wicketd memory",
           kProcessBytes + kMapBytes + queues * kQueueBytes +
               load.active * costs.wicketd_bytes_per_peer,
           "bytes", absl::StrFormat("rings of %.0f queues, maps, installed peers", queues)},
          {"cores, wicketd", work.own_cores, "cores",
           absl::StrFormat("%.0f proofs a second, what is forged in the driver", work.proofs)},
          {"cores, kernel", work.kernel_cores, "cores",
           absl::StrFormat("%.0f handshakes a second, %.0f of them rekeys; data comes on top",
                           work.newcomers + work.rekeys, work.rekeys)},
          {"disk writes", writes * kPageBytes, "bytes/s",
           absl::StrFormat("at most: %.0f changes a second, in common commits", writes)}};
}

std::vector<Limit> LimitsOf(const Load& load, const Costs& costs, const Work& work, double cores) {
  const installer::Options device;
  const gateway::DeviceConfig configured;
  const auto installed_max = static_cast<double>(device.installed_max);
  const auto probation_max = static_cast<double>(device.probation_max);
  const auto proofs_max = static_cast<double>(configured.handshakes_per_second);
  return {
      {"installed_max", load.active, installed_max, "newcomers are refused as `full`",
       load.active > kKernelPeersMax ? std::string("more than a device may hold: a second device")
                                     : Raise("installed_max", installed_max,
                                             std::min(RoomFor(load.active), kKernelPeersMax))},
      {"open probation slots", work.on_probation, probation_max / 2,
       "newcomers are asked for a cookie first, and those that have none wait 5 s",
       Raise("probation_max", probation_max, 2 * RoomFor(work.on_probation))},
      {"handshakes_per_second", work.proofs + load.strangers_per_s, proofs_max,
       "cookies are asked for",
       Raise("handshakes_per_second", proofs_max, RoomFor(work.proofs + load.strangers_per_s))},
      {"known flows", load.active, kFlowsMax,
       "rekeys of forgotten flows are proven again, a fraction of a core", ""},
      {"peers of a device", load.active, kKernelPeersMax, "the kernel takes no more",
       "a second device, or a second gateway"},
      {"installs of a device", work.newcomers, costs.installs_per_s,
       "newcomers wait, and those that wait 2.5 s try again",
       "a second device; with a user-space device or without BTF the limit is lower, and shared"},
      {"creates by the socket", load.creates_per_s, costs.creates_per_s, "callers wait",
       "wicket import, or more peers in a request"},
      {"cores", work.own_cores + work.kernel_cores, cores,
       "the gateway is under load: cookies, then waits",
       "more cores, with a queue of the NIC each"},
      {"bytes_max of the store", load.stored * costs.store_bytes_per_peer, 64.0 * (1ull << 30),
       "creates are refused", "[store] bytes_max"},
  };
}

}  // namespace

Plan MakePlan(const Load& load, const Costs& costs, double cores) {
  const Work work(load, costs);
  Plan plan{.needs = NeedsOf(load, costs, work, cores),
            .limits = LimitsOf(load, costs, work, cores)};
  std::sort(plan.limits.begin(), plan.limits.end(),
            [](const Limit& a, const Limit& b) { return a.share() > b.share(); });
  return plan;
}

}  // namespace wicket::tools
