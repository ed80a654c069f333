#include "base/clock.h"

#include <time.h>

namespace wicket {

uint64_t SteadyNanos() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

absl::Duration SteadyNow() { return absl::Nanoseconds(static_cast<int64_t>(SteadyNanos())); }

absl::Time WallNow() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return absl::TimeFromTimespec(now);
}

std::optional<absl::Duration> ClockStepDetector::Look(absl::Duration steady, absl::Time wall) {
  const absl::Time epoch = wall - steady;
  const bool first = !steady_epoch_;
  const absl::Duration step = first ? absl::ZeroDuration() : epoch - *steady_epoch_;
  steady_epoch_ = epoch;
  if (first || absl::AbsDuration(step) < kStepMin) return std::nullopt;
  return step;
}

}  // namespace wicket
