// The ways to answer a proven initiation.
#pragma once

#include <cstdint>

#include "absl/strings/string_view.h"

namespace wicket::reinject {

enum class Mode : uint8_t {
  kAuto,    // live where the NIC supports it, raw otherwise
  kLive,    // the packet enters the NIC's receive path
  kRaw,     // the packet enters by a raw socket
  kInvert,  // the device sends an initiation of its own
  kWait,    // the client retries, and finds its peer installed
};

inline constexpr absl::string_view ToString(Mode mode) {
  switch (mode) {
    case Mode::kAuto:
      return "auto";
    case Mode::kLive:
      return "live";
    case Mode::kRaw:
      return "raw";
    case Mode::kInvert:
      return "invert";
    case Mode::kWait:
      return "wait";
  }
  return "?";
}

// Returns: whether the packet itself is given to the device.
// Requires: the mode of a NIC, which is never kAuto.
inline constexpr bool GivesBack(Mode mode) { return mode == Mode::kLive || mode == Mode::kRaw; }

}  // namespace wicket::reinject
