#include "base/clock.h"

#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace wicket {
namespace {

timespec Read(clockid_t clock) {
  timespec now;
  clock_gettime(clock, &now);
  return now;
}

// Returns: the first 16 hexadecimal digits of an identity as a number; 0 when it has fewer.
uint64_t ParseBoot(const std::string& text) {
  std::string digits;
  for (const char c : text) {
    if (absl::ascii_isxdigit(static_cast<unsigned char>(c)) && digits.size() < 16) digits += c;
  }
  uint64_t boot = 0;
  return digits.size() == 16 && absl::SimpleHexAtoi(digits, &boot) ? boot : 0;
}

uint64_t FindBoot() {
  std::string text;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), text);
  uint64_t boot = ParseBoot(text);
  const char* given = getenv("WICKET_BOOT_ID");
  if (boot == 0 && given != nullptr) boot = ParseBoot(given);
  while (boot == 0 && getrandom(&boot, sizeof(boot), 0) != sizeof(boot)) {
  }
  return boot;
}

}  // namespace

uint64_t SteadyNanos() {
  const timespec now = Read(CLOCK_MONOTONIC);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

double SecondsSince(uint64_t then_ns) {
  return static_cast<double>(std::max(SteadyNanos(), then_ns) - then_ns) / 1e9;
}

absl::Duration SteadyNow() { return absl::Nanoseconds(static_cast<int64_t>(SteadyNanos())); }

absl::Time WallNow() { return absl::TimeFromTimespec(Read(CLOCK_REALTIME)); }

Instant InstantNow() {
  static const uint64_t boot = FindBoot();
  return {WallNow(), absl::DurationFromTimespec(Read(CLOCK_BOOTTIME)), boot};
}

absl::Duration Elapsed(const Instant& from, const Instant& to) {
  return from.boot == to.boot ? to.up - from.up : to.wall - from.wall;
}

absl::Duration StepBetween(const Instant& from, const Instant& to) {
  if (from.boot != to.boot) return absl::ZeroDuration();
  const absl::Duration step = (to.wall - from.wall) - (to.up - from.up);
  return absl::AbsDuration(step) < kClockStepMin ? absl::ZeroDuration() : step;
}

std::optional<absl::Duration> ClockStepDetector::Look(absl::Duration steady, absl::Time wall) {
  const absl::Time epoch = wall - steady;
  const bool first = !steady_epoch_;
  const absl::Duration step = first ? absl::ZeroDuration() : epoch - *steady_epoch_;
  steady_epoch_ = epoch;
  if (first || absl::AbsDuration(step) < kClockStepMin) return std::nullopt;
  return step;
}

}  // namespace wicket
