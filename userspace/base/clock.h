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
// Seconds since `then_ns`, which another thread sets: 0 when that was after this clock was read.
double SecondsSince(uint64_t then_ns);
absl::Duration SteadyNow();

// CLOCK_REALTIME, which an operator or a time daemon may set forwards or back.
absl::Time WallNow();

// The wall clock beside a clock that nobody sets. Between two instants of one boot, also those of
// two processes, both the time passed and the step of the wall clock are known.
struct Instant {
  absl::Time wall = absl::UnixEpoch();
  absl::Duration up;  // CLOCK_BOOTTIME, which advances while the machine sleeps
  uint64_t boot = 0;  // names the boot; 0: not known

  Instant operator+(absl::Duration by) const { return {wall + by, up + by, boot}; }
  Instant operator-(absl::Duration by) const { return *this + -by; }
};

// The boot's name comes from the kernel, or from WICKET_BOOT_ID in the environment, for a process
// that cannot see /proc/sys. Without both, each process is taken for a boot of its own.
Instant InstantNow();

// The time from one instant to another: by the wall clock when they are not of one boot.
absl::Duration Elapsed(const Instant& from, const Instant& to);

// The smallest step of the wall clock that counts as one. Slewing moves the steady clocks as well.
inline constexpr absl::Duration kClockStepMin = absl::Seconds(1);

// How far the wall clock was stepped from one instant to another, positive for forwards; zero when
// they are not of one boot.
absl::Duration StepBetween(const Instant& from, const Instant& to);

// Detects steps of the wall clock. Between two looks it should advance as much as the steady clock;
// the difference is a step. The steady clock stands still while the machine sleeps, so a sleep is
// taken for a step forwards.
//
// Thread: one.
class ClockStepDetector {
 public:
  // Returns: the step of the wall clock since the last look, positive for forwards; nullopt when
  //          there was none, and at the first look.
  std::optional<absl::Duration> Look(absl::Duration steady, absl::Time wall);

 private:
  std::optional<absl::Time> steady_epoch_;  // the wall clock when the steady clock was zero
};

}  // namespace wicket
