// The configuration of one device, as its installer needs it.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"
#include "wgdev/device.h"

namespace wicket::installer {

struct Options {
  std::string name;  // the interface
  wgdev::Backend backend = wgdev::Backend::kAuto;
  absl::Duration evict_after = absl::Seconds(180);  // of silence; see Resident
  uint64_t installed_max = 65536;
  uint64_t probation_max = 16384;  // installed peers without a confirmed session
  uint64_t busiest_max = 0;        // installed peers with series of their own
  bool owned = false;              // remove peers that the store does not hold
};

}  // namespace wicket::installer
