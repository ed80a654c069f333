#include "gateway/reload.h"

#include <algorithm>

namespace wicket::gateway {
namespace {

template <typename T>
bool SameNames(const std::vector<T>& a, const std::vector<T>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const T& one, const T& other) { return one.name == other.name; });
}

// A field of entries that have the same names.
template <typename T, typename Field>
bool Differs(const std::vector<T>& a, const std::vector<T>& b, Field field) {
  return !std::equal(a.begin(), a.end(), b.begin(), b.end(),
                     [field](const T& one, const T& other) { return one.*field == other.*field; });
}

// The keys that differ and can only be taken at the start.
std::vector<std::string> NeedRestart(const Config& a, const Config& b) {
  std::vector<std::string> restart;
  const auto needs_restart = [&](bool differs, const char* key) {
    if (differs) restart.emplace_back(key);
  };
  needs_restart(a.pin_dir != b.pin_dir, "pin_dir");
  needs_restart(a.status_file != b.status_file, "status_file");
  needs_restart(a.pin_threads != b.pin_threads, "pin_threads");
  needs_restart(a.x25519 != b.x25519, "x25519");
  needs_restart(a.store.path != b.store.path, "store.path");
  needs_restart(a.store.bytes_max != b.store.bytes_max, "store.bytes_max");
  needs_restart(a.store_keeps_expired != b.store_keeps_expired, "store.keep_expired");
  if (SameNames(a.nics, b.nics)) {
    needs_restart(Differs(a.nics, b.nics, &NicConfig::xdp), "nic.xdp");
    needs_restart(Differs(a.nics, b.nics, &NicConfig::force_copy), "nic.force_copy");
    needs_restart(Differs(a.nics, b.nics, &NicConfig::cookies_by_tx), "nic.cookies_by_tx");
  } else {
    restart.emplace_back("nic");
  }
  if (SameNames(a.devices, b.devices)) {
    needs_restart(Differs(a.devices, b.devices, &DeviceConfig::backend), "device.backend");
  } else {
    restart.emplace_back("device");
  }
  needs_restart(a.pools != b.pools, "pool");
  needs_restart(a.control.socket != b.control.socket, "control.socket");
  needs_restart(a.control.group != b.control.group, "control.group");
  needs_restart(a.control.write_group != b.control.write_group, "control.write_group");
  needs_restart(a.metrics.peers != b.metrics.peers, "metrics.peers");
  needs_restart(a.metrics.peer_names != b.metrics.peer_names, "metrics.peer_names");
  return restart;
}

}  // namespace

std::vector<std::string> TakeReloadable(const Config& wanted, Config* running) {
  std::vector<std::string> restart = NeedRestart(*running, wanted);
  running->log_level = wanted.log_level;
  running->cookies_per_second = wanted.cookies_per_second;
  if (SameNames(running->devices, wanted.devices) &&
      !Differs(running->devices, wanted.devices, &DeviceConfig::backend)) {
    running->devices = wanted.devices;
  }
  return restart;
}

}  // namespace wicket::gateway
