// The clocks, and the only place that reads them.
//
// Ages, deadlines and intervals use the steady clock. Wall-clock time is for values that outlive
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

// Detects steps of the wall clock. Between two looks it should advance as much as the steady clock;
// the difference is a step.
//
// Thread: one.
class ClockStepDetector {
 public:
  // A time daemon slews by at most 500 ppm, so a difference this large is a step.
  static constexpr absl::Duration kStepMin = absl::Seconds(1);

  // Returns: the step of the wall clock since the last look, positive for forwards; nullopt when
  //          there was none, and at the first look.
  std::optional<absl::Duration> Look(absl::Duration steady, absl::Time wall);

 private:
  std::optional<absl::Time> steady_epoch_;  // the wall clock when the steady clock was zero
};

}  // namespace wicket
