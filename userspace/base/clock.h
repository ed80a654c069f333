// The clocks of the machine.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace wicket {

// CLOCK_MONOTONIC, ns. Nobody can set it: for deadlines and durations.
uint64_t SteadyNanos();
// The same clock.
absl::Duration SteadyNow();
// CLOCK_REALTIME. It can jump either way: for what is shown and what is stored.
absl::Time WallNow();

}  // namespace wicket
