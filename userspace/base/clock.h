// The clocks, and the only place that reads them.
//
// Ages, deadlines and intervals are steady. Wall-clock time is for what outlives
// the process (expiry, handshake stamps, records) and for people to read.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/time/time.h"

namespace wicket {

// CLOCK_MONOTONIC in ns: the clock of bpf_ktime_get_ns and of the XDP program's heartbeats.
uint64_t SteadyNanos();
absl::Duration SteadyNow();

// CLOCK_REALTIME, which an operator or a time daemon may set forwards or back.
absl::Time WallNow();

// Sees the wall clock step against the steady clock. Between two looks both should
// advance by the same amount; what they differ by is a step.
//
// Thread: one.
class ClockStepDetector {
 public:
  // A time daemon slews by at most 500 ppm, so a difference this large is a step.
  static constexpr absl::Duration kStepMin = absl::Seconds(1);

  // Returns: how far the wall clock stepped since the last look, positive for forwards;
  //          nullopt when it did not, and at the first look.
  std::optional<absl::Duration> Look(absl::Duration steady, absl::Time wall);

 private:
  std::optional<absl::Time> steady_epoch_;  // the wall clock when the steady clock was zero
};

}  // namespace wicket
