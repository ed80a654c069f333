#include "gateway/reload.h"

#include <algorithm>

namespace wicket::gateway {
namespace {

bool SameNic(const NicConfig& a, const NicConfig& b) {
  return a.name == b.name && a.xdp == b.xdp && a.force_copy == b.force_copy &&
         a.cookies_by_tx == b.cookies_by_tx;
}

bool SameDevice(const DeviceConfig& a, const DeviceConfig& b) {
  return a.name == b.name && a.backend == b.backend;
}

// What differs and can only be taken at the start.
std::vector<std::string> NeedRestart(const Config& a, const Config& b) {
  std::vector<std::string> restart;
  const auto needs_restart = [&](bool differs, const char* what) {
    if (differs) restart.emplace_back(what);
  };
  needs_restart(a.pin_dir != b.pin_dir, "pin_dir");
  needs_restart(a.status_file != b.status_file, "status_file");
  needs_restart(a.pin_threads != b.pin_threads, "pin_threads");
  needs_restart(a.x25519 != b.x25519, "x25519");
  needs_restart(a.store.path != b.store.path || a.store.bytes_max != b.store.bytes_max ||
                    a.store_keeps_expired != b.store_keeps_expired,
                "store");
  needs_restart(!std::equal(a.nics.begin(), a.nics.end(), b.nics.begin(), b.nics.end(), SameNic),
                "nic");
  needs_restart(!std::equal(a.devices.begin(), a.devices.end(), b.devices.begin(), b.devices.end(),
                            SameDevice),
                "device");
  needs_restart(a.pools != b.pools, "pool");
  needs_restart(a.control != b.control, "control");
  needs_restart(a.metrics != b.metrics, "metrics");
  return restart;
}

}  // namespace

std::vector<std::string> TakeReloadable(const Config& wanted, Config* running) {
  std::vector<std::string> restart = NeedRestart(*running, wanted);
  running->log_level = wanted.log_level;
  running->cookies_per_second = wanted.cookies_per_second;
  if (std::find(restart.begin(), restart.end(), "device") == restart.end()) {
    running->devices = wanted.devices;
  }
  return restart;
}

}  // namespace wicket::gateway
