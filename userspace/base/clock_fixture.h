// For tests: instants of one boot.
#pragma once

#include "base/clock.h"

namespace wicket {

// The instant at which a wall clock that is wrong by `off` shows `wall`.
inline Instant At(absl::Time wall, absl::Duration off = {}) {
  return {.wall = wall, .up = wall - off - absl::FromUnixSeconds(1'700'000'000), .boot = 1};
}

}  // namespace wicket
