#include "base/clock.h"

#include <time.h>

namespace wicket {
namespace {

timespec Read(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now;
}

}  // namespace

uint64_t SteadyNanos() {
  const timespec now = Read(CLOCK_MONOTONIC);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

absl::Duration SteadyNow() { return absl::Nanoseconds(static_cast<int64_t>(SteadyNanos())); }

absl::Time WallNow() { return absl::TimeFromTimespec(Read(CLOCK_REALTIME)); }

}  // namespace wicket
