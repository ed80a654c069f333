// What the configuration says of one device to its installer.
#pragma once

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace wicket::installer {

struct Options {
  std::string name;                                 // of the interface
  absl::Duration evict_after = absl::Seconds(180);  // since the last handshake
  uint64_t installed_max = 65536;
  uint64_t probation_max = 16384;  // installed peers without a confirmed session
  bool owned = false;              // peers that the store does not hold are removed
};

}  // namespace wicket::installer
