#include "report/metrics.h"

#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "installer/journal.h"
#include "intake/verdict.h"
#include "xdp/steer_abi.h"

namespace wicket::report {
namespace {

using Labels = std::vector<prometheus::ClientMetric::Label>;
using prometheus::MetricType;

// Collects samples by family, in the order in which the families are first named.
class Families {
 public:
  void Gauge(const char* name, const char* help, Labels labels, double value) {
    Sample(name, help, MetricType::Gauge, std::move(labels)).gauge.value = value;
  }
  void Counter(const std::string& name, const char* help, Labels labels, uint64_t value) {
    Sample(name, help, MetricType::Counter, std::move(labels)).counter.value =
        static_cast<double>(value);
  }
  void Histogram(const char* name, const char* help, Labels labels,
                 const document::HistogramStatus& status, std::span<const double> bounds) {
    if (status.up_to.size() != bounds.size()) return;  // of a status that was read from its file
    auto& histogram = Sample(name, help, MetricType::Histogram, std::move(labels)).histogram;
    histogram.sample_count = status.count;
    histogram.sample_sum = status.sum;
    for (size_t i = 0; i < bounds.size(); ++i) {
      histogram.bucket.push_back({.cumulative_count = status.up_to[i], .upper_bound = bounds[i]});
    }
    histogram.bucket.push_back(
        {.cumulative_count = status.count, .upper_bound = std::numeric_limits<double>::infinity()});
  }
  std::string Text() const { return prometheus::TextSerializer().Serialize(families_); }

 private:
  prometheus::ClientMetric& Sample(const std::string& name, const char* help, MetricType type,
                                   Labels labels) {
    auto family = families_.begin();
    while (family != families_.end() && family->name != name) ++family;
    if (family == families_.end()) {
      families_.push_back({.name = name, .help = help, .type = type, .metric = {}});
      family = families_.end() - 1;
    }
    family->metric.emplace_back().label = std::move(labels);
    return family->metric.back();
  }

  std::vector<prometheus::MetricFamily> families_;
};

double Seconds(absl::Time time) { return absl::ToDoubleSeconds(time - absl::UnixEpoch()); }

void AddProcess(const document::Status& status, Families* out) {
  out->Gauge("wicket_info", "version and back end of the gateway; always 1",
             {{"version", status.version}, {"x25519", status.x25519}}, 1);
  out->Gauge("wicket_start_time_seconds", "when the gateway started, in Unix time", {},
             Seconds(status.started));
  out->Gauge("wicket_status_time_seconds", "when these figures were gathered, in Unix time", {},
             Seconds(status.written));
  out->Counter("wicket_clock_steps_total", "steps of the wall clock against the steady clock", {},
               status.clock_steps);
  for (const document::ThreadStatus& thread : status.threads) {
    out->Gauge("wicket_thread_silent_seconds", "since the thread last made progress",
               {{"thread", thread.name}}, thread.silent_s);
  }
}

void AddStore(const document::Status& status, Families* out) {
  out->Gauge("wicket_store_peers", "stored peers", {}, static_cast<double>(status.stored_peers));
  out->Gauge("wicket_store_bytes", "size of the store's file", {},
             static_cast<double>(status.store_bytes));
  out->Gauge("wicket_store_bytes_max", "the largest size of the store's file", {},
             static_cast<double>(status.store_bytes_max));
  out->Gauge("wicket_store_unsaved_sessions", "sessions in memory, on their way to the store", {},
             static_cast<double>(status.unsaved_sessions));
  out->Gauge("wicket_store_refuses_writes", "1 while sessions wait because the store takes none",
             {}, status.store_refuses_writes);
  out->Histogram("wicket_store_commit_seconds", "transactions: changes, commit and fsync", {},
                 status.commit, document::kSecondsBounds);
}

void AddPools(const document::Status& status, Families* out) {
  for (const document::PoolStatus& pool : status.pools) {
    const Labels labels{{"pool", pool.name}, {"device", pool.device}, {"cidr", pool.cidr}};
    out->Gauge("wicket_pool_addresses", "addresses of the CIDR that can be given out", labels,
               pool.size);
    out->Gauge("wicket_pool_addresses_used", "those given out so far, released ones included",
               labels, pool.used);
  }
  out->Gauge("wicket_pool_released_prefixes",
             "prefixes of peers that are gone, which are given out again, of all pools", {},
             static_cast<double>(status.released_prefixes));
}

void AddNic(const document::NicStatus& nic, Families* out) {
  const Labels labels{{"nic", nic.name}};
  const bool up = nic.xdp_mode != "away";
  out->Gauge("wicket_nic_up", "1 while the XDP program and its sockets are on the NIC", labels, up);
  if (up) {
    out->Gauge("wicket_nic_info", "how the NIC is served; always 1",
               {{"nic", nic.name},
                {"xdp_mode", nic.xdp_mode},
                {"reinject", nic.reinject},
                {"zero_copy", nic.zero_copy ? "yes" : "no"}},
               1);
  }
  out->Gauge("wicket_nic_queues", "RX queues that are served", labels, nic.queues);
  out->Gauge("wicket_nic_under_load", "1 while a shard asks for cookies", labels, nic.under_load);
  out->Counter("wicket_nic_load_raised_total", "times that a shard came under load", labels,
               nic.load_raised);
  out->Counter("wicket_nic_ring_full_total", "frames that found the ring of their shard full",
               labels, nic.ring_full);
  out->Counter("wicket_nic_ring_dropped_total", "frames that the kernel could not hand to a shard",
               labels, nic.ring_dropped);
  out->Histogram("wicket_nic_wait_seconds",
                 "waits of a batch's oldest frame, where it had to wait for other frames", labels,
                 nic.wait, document::kSecondsBounds);
  out->Histogram("wicket_nic_ring_frames", "frames in a ring when a batch was taken from it",
                 labels, nic.ring_waiting, document::kFramesBounds);
  for (size_t i = 0; i < nic.per_queue.size(); ++i) {
    const document::QueueStatus& queue = nic.per_queue[i];
    const Labels of_queue{{"nic", nic.name}, {"queue", absl::StrCat(i)}};
    out->Counter("wicket_queue_initiations_total", "initiations that the queue's shard has judged",
                 of_queue, queue.initiations);
    out->Counter("wicket_queue_ring_full_total", "frames that found the ring of the queue full",
                 of_queue, queue.ring_full);
    out->Gauge("wicket_queue_under_load", "1 while the queue's shard asks for cookies", of_queue,
               queue.under_load);
  }
}

void AddDevice(const document::DeviceStatus& device, Families* out) {
  const Labels labels{{"device", device.name}};
  const auto gauge = [&](const char* name, const char* help, double value) {
    out->Gauge(name, help, labels, value);
  };
  gauge("wicket_device_up", "1 while the WireGuard device is there", device.backend != "away");
  gauge("wicket_device_installed_peers", "peers of ours in the device",
        static_cast<double>(device.installed));
  gauge("wicket_device_installed_peers_max", "the limit installed_max",
        static_cast<double>(device.installed_max));
  gauge("wicket_device_unconfirmed_peers", "installed peers without a confirmed session",
        static_cast<double>(device.installed_unconfirmed));
  gauge("wicket_device_unconfirmed_peers_max", "the limit probation_max",
        static_cast<double>(device.probation_max));
  gauge("wicket_device_foreign_peers", "peers in the device that are not stored for it",
        static_cast<double>(device.foreign));
  gauge("wicket_device_silent_seconds", "since the device's thread last made progress",
        device.silent_s);
  if (device.dumped_s_ago >= 0) {
    gauge("wicket_device_dump_age_seconds", "since the device's peers were last read completely",
          device.dumped_s_ago);
  }
  out->Histogram("wicket_device_given_back_seconds",
                 "from the packet at its shard to the packet given back to the kernel", labels,
                 device.given_back, document::kSecondsBounds);
  out->Histogram("wicket_device_confirmed_seconds",
                 "from an initiation to the first data of its session", labels, device.confirmed,
                 document::kSecondsBounds);
  out->Histogram("wicket_device_dump_seconds", "reads of all the device's peers", labels,
                 device.dump, document::kSecondsBounds);
#define WICKET_METRIC(name, text, help)                      \
  out->Counter("wicket_device_" text "_total", help, labels, \
               document::CountOf(device.counts, text));
  WICKET_INSTALLER_COUNTS(WICKET_METRIC)
#undef WICKET_METRIC
}

// Series of single peers are named and labelled as the exporters do whose dashboards are around.
void AddPeers(const document::DeviceStatus& device, document::PeerNames names, Families* out) {
  const bool totals = names == document::PeerNames::kTotals;
  if (device.busiest.empty() && device.peers_capped == 0) return;
  out->Gauge("wicket_device_peers_capped", "installed peers without series of their own",
             {{"device", device.name}}, static_cast<double>(device.peers_capped));
  for (const document::PeerTraffic& peer : device.busiest) {
    const Labels labels{{totals ? "interface" : "device", device.name},
                        {"public_key", ToBase64(peer.public_key)},
                        {"allowed_ips", peer.allowed_ips},
                        {"friendly_name", peer.friendly_name}};
    out->Counter(totals ? "wireguard_sent_bytes_total" : "wireguard_peer_transmit_bytes_total",
                 "bytes sent to the peer", labels, peer.sent_bytes);
    out->Counter(totals ? "wireguard_received_bytes_total" : "wireguard_peer_receive_bytes_total",
                 "bytes received from the peer", labels, peer.received_bytes);
    out->Gauge(
        totals ? "wireguard_latest_handshake_seconds" : "wireguard_peer_last_handshake_seconds",
        "the last handshake, in Unix time; 0: never", labels, Seconds(peer.last_handshake));
  }
}

void AddDefence(const document::Status& status, Families* out) {
  out->Gauge("wicket_attack", "1 during an attack, and for ten seconds after it", {},
             status.defence.attack);
  out->Gauge("wicket_refused_sources", "about how many sources were refused in the last second", {},
             static_cast<double>(status.defence.sources));
#define WICKET_METRIC(name, text, help)                                             \
  out->Counter("wicket_initiations_total", "initiations at the shards, by verdict", \
               {{"verdict", text}}, document::CountOf(status.verdicts, text));
  WICKET_VERDICTS(WICKET_METRIC)
#undef WICKET_METRIC
#define WICKET_METRIC(name, action, text, help)                                          \
  out->Counter("wicket_xdp_packets_total", "packets at the XDP program, by what it did", \
               {{"verdict", text}}, document::CountOf(status.steering, text));
  STEER_COUNTS(WICKET_METRIC)
#undef WICKET_METRIC
}

}  // namespace

std::string ToPrometheus(const document::Status& status) {
  Families families;
  AddProcess(status, &families);
  AddPools(status, &families);
  AddStore(status, &families);
  for (const document::NicStatus& nic : status.nics) AddNic(nic, &families);
  for (const document::DeviceStatus& device : status.devices) AddDevice(device, &families);
  for (const document::DeviceStatus& device : status.devices) {
    AddPeers(device, status.peer_names, &families);
  }
  AddDefence(status, &families);
  return families.Text();
}

}  // namespace wicket::report
