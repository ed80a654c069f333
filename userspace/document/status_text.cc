#include "document/status_text.h"

#include <algorithm>
#include <boost/json.hpp>
#include <span>

#include "absl/strings/str_cat.h"

namespace wicket::document {
namespace {

namespace json = boost::json;

json::object CountsObject(const std::map<std::string, uint64_t>& counts) {
  json::object object;
  for (const auto& [name, count] : counts) object[name] = count;
  return object;
}

std::map<std::string, uint64_t> ReadCounts(const json::value& value) {
  std::map<std::string, uint64_t> counts;
  for (const auto& field : value.as_object()) {
    counts[std::string(field.key())] = field.value().to_number<uint64_t>();
  }
  return counts;
}

std::string Text(const json::object& object, json::string_view name) {
  return json::value_to<std::string>(object.at(name));
}

template <typename T>
T Number(const json::object& object, json::string_view name) {
  return object.at(name).to_number<T>();
}

// What a gateway does not tell that has not been started again since an upgrade.
uint64_t NumberOr0(const json::object& object, json::string_view name) {
  return object.contains(name) ? Number<uint64_t>(object, name) : 0;
}

QueueStatus ReadQueue(const json::object& object) {
  return {.initiations = Number<uint64_t>(object, "initiations"),
          .ring_full = Number<uint64_t>(object, "ring_full"),
          .ring_dropped = Number<uint64_t>(object, "ring_dropped"),
          .under_load = object.at("under_load").as_bool(),
          .wait_p99_ms = Number<double>(object, "wait_p99_ms")};
}

// A gateway that has not been started again since an upgrade does not tell of single queues.
std::vector<QueueStatus> ReadQueues(const json::object& nic) {
  std::vector<QueueStatus> queues;
  const json::value* found = nic.if_contains("per_queue");
  if (found == nullptr) return queues;
  for (const json::value& queue : found->as_array()) queues.push_back(ReadQueue(queue.as_object()));
  return queues;
}

json::array QueueArray(const std::vector<QueueStatus>& queues) {
  json::array array;
  for (const QueueStatus& queue : queues) {
    array.push_back({{"initiations", queue.initiations},
                     {"ring_full", queue.ring_full},
                     {"ring_dropped", queue.ring_dropped},
                     {"under_load", queue.under_load},
                     {"wait_p99_ms", queue.wait_p99_ms}});
  }
  return array;
}

NicStatus ReadNic(const json::object& object) {
  return {.name = Text(object, "name"),
          .xdp_mode = Text(object, "xdp_mode"),
          .away_reason = Text(object, "away_reason"),
          .shared = object.at("shared").as_bool(),
          .reinject = Text(object, "reinject"),
          .reinject_reason = Text(object, "reinject_reason"),
          .queues = Number<uint32_t>(object, "queues"),
          .zero_copy = object.at("zero_copy").as_bool(),
          .ring_full = Number<uint64_t>(object, "ring_full"),
          .ring_dropped = Number<uint64_t>(object, "ring_dropped"),
          .lost_lately = NumberOr0(object, "lost_lately"),
          .under_load = object.at("under_load").as_bool(),
          .load_raised = Number<uint64_t>(object, "load_raised"),
          .wait_p99_ms = Number<double>(object, "wait_p99_ms"),
          .wait = {},
          .ring_waiting = {},
          .per_queue = ReadQueues(object)};
}

DeviceStatus ReadDevice(const json::object& object) {
  return {.name = Text(object, "name"),
          .backend = Text(object, "backend"),
          .away_reason = Text(object, "away_reason"),
          .public_key = Text(object, "public_key"),
          .port = Number<uint16_t>(object, "port"),
          .installed = Number<uint64_t>(object, "installed"),
          .installed_unconfirmed = Number<uint64_t>(object, "installed_unconfirmed"),
          .foreign = Number<uint64_t>(object, "foreign"),
          .silent_s = Number<double>(object, "silent_s"),
          .dumped_s_ago = Number<double>(object, "dumped_s_ago"),
          .counts = ReadCounts(object.at("counts")),
          .install_errors_lately = NumberOr0(object, "install_errors_lately"),
          .install_count = Number<uint64_t>(object, "install_count"),
          .install_p50_ms = Number<double>(object, "install_p50_ms"),
          .install_p99_ms = Number<double>(object, "install_p99_ms"),
          .given_back = {},
          .confirmed = {},
          .dump = {},
          .installed_max = Number<uint64_t>(object, "installed_max"),
          .probation_max = Number<uint64_t>(object, "probation_max"),
          .busiest = {}};
}

DefenceStatus ReadDefence(const json::object& object) {
  DefenceStatus defence{
      .attack = object.at("attack").as_bool(),
      .attack_since = absl::FromUnixMillis(Number<int64_t>(object, "attack_since")),
      .under_load = object.at("under_load").as_bool(),
      .sources = Number<uint64_t>(object, "sources"),
      .proven_per_s = Number<double>(object, "proven_per_s"),
      .refused_per_s = {}};
  for (const auto& field : object.at("refused_per_s").as_object()) {
    defence.refused_per_s[std::string(field.key())] = field.value().to_number<double>();
  }
  return defence;
}

json::object DefenceObject(const DefenceStatus& defence) {
  json::object rates;
  for (const auto& [name, rate] : defence.refused_per_s) rates[name] = rate;
  return {{"attack", defence.attack},
          {"attack_since", absl::ToUnixMillis(defence.attack_since)},
          {"under_load", defence.under_load},
          {"sources", defence.sources},
          {"proven_per_s", defence.proven_per_s},
          {"refused_per_s", std::move(rates)}};
}

json::object NicObject(const NicStatus& nic) {
  return {{"name", nic.name},
          {"xdp_mode", nic.xdp_mode},
          {"away_reason", nic.away_reason},
          {"shared", nic.shared},
          {"reinject", nic.reinject},
          {"reinject_reason", nic.reinject_reason},
          {"queues", nic.queues},
          {"zero_copy", nic.zero_copy},
          {"ring_full", nic.ring_full},
          {"ring_dropped", nic.ring_dropped},
          {"lost_lately", nic.lost_lately},
          {"under_load", nic.under_load},
          {"load_raised", nic.load_raised},
          {"wait_p99_ms", nic.wait_p99_ms},
          {"per_queue", QueueArray(nic.per_queue)}};
}

json::object DeviceObject(const DeviceStatus& device) {
  return {{"name", device.name},
          {"backend", device.backend},
          {"away_reason", device.away_reason},
          {"public_key", device.public_key},
          {"port", device.port},
          {"installed", device.installed},
          {"installed_unconfirmed", device.installed_unconfirmed},
          {"foreign", device.foreign},
          {"silent_s", device.silent_s},
          {"dumped_s_ago", device.dumped_s_ago},
          {"counts", CountsObject(device.counts)},
          {"install_errors_lately", device.install_errors_lately},
          {"install_count", device.install_count},
          {"install_p50_ms", device.install_p50_ms},
          {"install_p99_ms", device.install_p99_ms},
          {"installed_max", device.installed_max},
          {"probation_max", device.probation_max}};
}

HistogramStatus ToStatus(const Histogram& histogram, std::span<const double> bounds, double unit) {
  HistogramStatus status{
      .up_to = {}, .count = histogram.Count(), .sum = static_cast<double>(histogram.Sum()) / unit};
  for (const double bound : bounds) {
    status.up_to.push_back(
        std::min(status.count, histogram.CountUpTo(static_cast<uint64_t>(bound * unit))));
  }
  return status;
}

}  // namespace

HistogramStatus SecondsOf(const Histogram& nanoseconds) {
  return ToStatus(nanoseconds, kSecondsBounds, 1e9);
}

HistogramStatus FramesOf(const Histogram& frames) { return ToStatus(frames, kFramesBounds, 1); }

uint64_t CountOf(const std::map<std::string, uint64_t>& counts, const std::string& name) {
  const auto it = counts.find(name);
  return it == counts.end() ? 0 : it->second;
}

std::string ToJson(const Status& status) {
  json::array nics, devices, threads, pools;
  for (const PoolStatus& pool : status.pools) {
    pools.push_back({{"name", pool.name},
                     {"device", pool.device},
                     {"cidr", pool.cidr},
                     {"size", pool.size},
                     {"used", pool.used}});
  }
  for (const ThreadStatus& thread : status.threads) {
    threads.push_back({{"name", thread.name}, {"silent_s", thread.silent_s}});
  }
  for (const NicStatus& nic : status.nics) nics.push_back(NicObject(nic));
  for (const DeviceStatus& device : status.devices) devices.push_back(DeviceObject(device));
  json::object object;
  object["version"] = status.version;
  object["pid"] = status.pid;
  object["started"] = absl::ToUnixMillis(status.started);
  object["written"] = absl::ToUnixMillis(status.written);
  object["store_path"] = status.store_path;
  object["pin_dir"] = status.pin_dir;
  object["x25519"] = status.x25519;
  object["stored_peers"] = status.stored_peers;
  object["store_bytes"] = status.store_bytes;
  object["store_bytes_max"] = status.store_bytes_max;
  object["unsaved_sessions"] = status.unsaved_sessions;
  object["store_refuses_writes"] = status.store_refuses_writes;
  object["clock_steps"] = status.clock_steps;
  object["clock_steps_lately"] = status.clock_steps_lately;
  object["threads"] = std::move(threads);
  object["nics"] = std::move(nics);
  object["devices"] = std::move(devices);
  object["defence"] = DefenceObject(status.defence);
  object["verdicts"] = CountsObject(status.verdicts);
  object["pools"] = std::move(pools);
  object["released_prefixes"] = status.released_prefixes;
  object["steering"] = CountsObject(status.steering);
  return json::serialize(object);
}

absl::StatusOr<Status> ParseStatus(absl::string_view text) {
  try {
    const json::value value = json::parse(json::string_view(text.data(), text.size()));
    const json::object& object = value.as_object();
    Status status{.version = Text(object, "version"),
                  .pid = Number<int>(object, "pid"),
                  .started = absl::FromUnixMillis(Number<int64_t>(object, "started")),
                  .written = absl::FromUnixMillis(Number<int64_t>(object, "written")),
                  .store_path = Text(object, "store_path"),
                  .pin_dir = Text(object, "pin_dir"),
                  .x25519 = Text(object, "x25519"),
                  .stored_peers = Number<uint64_t>(object, "stored_peers"),
                  .store_bytes = Number<uint64_t>(object, "store_bytes"),
                  .store_bytes_max = NumberOr0(object, "store_bytes_max"),
                  .unsaved_sessions = Number<uint64_t>(object, "unsaved_sessions"),
                  .store_refuses_writes = object.at("store_refuses_writes").as_bool(),
                  .clock_steps = Number<uint64_t>(object, "clock_steps"),
                  .clock_steps_lately = NumberOr0(object, "clock_steps_lately"),
                  .pools = {},
                  .released_prefixes = 0,
                  .commit = {},
                  .threads = {},
                  .nics = {},
                  .devices = {},
                  .defence = ReadDefence(object.at("defence").as_object()),
                  .verdicts = ReadCounts(object.at("verdicts")),
                  .steering = ReadCounts(object.at("steering"))};
    for (const json::value& thread : object.at("threads").as_array()) {
      status.threads.push_back({.name = Text(thread.as_object(), "name"),
                                .silent_s = Number<double>(thread.as_object(), "silent_s")});
    }
    // Not told by a gateway that has not been started again since an upgrade.
    if (const json::value* pools = object.if_contains("pools")) {
      status.released_prefixes = Number<uint64_t>(object, "released_prefixes");
      for (const json::value& pool : pools->as_array()) {
        status.pools.push_back({.name = Text(pool.as_object(), "name"),
                                .device = Text(pool.as_object(), "device"),
                                .cidr = Text(pool.as_object(), "cidr"),
                                .size = Number<double>(pool.as_object(), "size"),
                                .used = Number<double>(pool.as_object(), "used")});
      }
    }
    for (const json::value& nic : object.at("nics").as_array()) {
      status.nics.push_back(ReadNic(nic.as_object()));
    }
    for (const json::value& device : object.at("devices").as_array()) {
      status.devices.push_back(ReadDevice(device.as_object()));
    }
    return status;
  } catch (const std::exception& error) {
    return absl::InvalidArgumentError(absl::StrCat("not a status file: ", error.what()));
  }
}

}  // namespace wicket::document
