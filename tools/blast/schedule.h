// When the packets of a load are due.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "tools/blast/load.h"

namespace wicket::blast {

inline uint64_t Nanos(absl::Duration duration) {
  return static_cast<uint64_t>(absl::ToInt64Nanoseconds(duration));
}

// The times of one thread's packets. Each packet takes a turn. The threads take the load's turns
// in rotation: the thread's turn `number` is turn OfAll(number) of the load.
//
// Open loop: a turn is due at its time, by the rate or by the capture. Closed loop: a turn is due
// when fewer handshakes are under way than wanted.
//
// No I/O: the time is an argument, CLOCK_MONOTONIC in ns.
class Schedule {
 public:
  // `thread`: 0 to options.threads - 1. `options.replay` must outlive the schedule.
  Schedule(const LoadOptions& options, uint32_t thread)
      : rate_(options.pace.rate),
        slope_(options.pace.ramp_to ? (*options.pace.ramp_to - options.pace.rate) /
                                          absl::ToDoubleSeconds(options.pace.duration)
                                    : 0),
        captured_(options.at_captured_times ? options.replay : nullptr),
        thread_(thread),
        threads_(static_cast<uint64_t>(options.threads)),
        turns_max_(options.pace.count_max),
        duration_ns_(Nanos(options.pace.duration)) {
    if (options.pace.in_flight) {
      in_flight_ = std::max<uint64_t>(*options.pace.in_flight / threads_, 1);
    }
  }

  // The load begins. Requires: called before DueAt(), Due(), CountDue() and IsOver().
  void Start(uint64_t now_ns) { started_ns_ = now_ns; }
  uint64_t end_ns() const { return started_ns_ + duration_ns_; }

  uint64_t OfAll(uint64_t number) const { return number * threads_ + thread_; }
  // Whether the load has a turn for the thread's turn `number`.
  bool Has(uint64_t number) const { return OfAll(number) < turns_max_; }
  // The time of the thread's turn `number` by the rate, in seconds from the start.
  double OffsetOf(uint64_t number) const { return OffsetOfAll(OfAll(number)); }

  // When turn `number` is due in an open loop.
  uint64_t DueAt(uint64_t number) const {
    if (captured_ != nullptr) {
      const uint64_t last = captured_->size() - 1;
      return started_ns_ + Nanos((*captured_)[std::min(OfAll(number), last)].offset);
    }
    return started_ns_ + static_cast<uint64_t>(OffsetOf(number) * 1e9);
  }

  // When turn `number` is due. In a closed loop that is now or later: the answer that makes it due
  // is not foreseen. `awaited`: the thread's handshakes under way.
  uint64_t Due(uint64_t number, uint64_t now_ns, uint64_t awaited) const {
    if (!in_flight_) return DueAt(number);
    return awaited < *in_flight_ ? now_ns : now_ns + kLater_ns;
  }

  // Turns from `number` on that are due at `now_ns`, at least 1 and at most `most`. Their packets
  // can be made side by side: no packet waits for another, since all are late. 1 in a closed loop.
  uint64_t CountDue(uint64_t number, uint64_t now_ns, uint64_t most) const {
    uint64_t n = 1;
    while (!in_flight_ && n < most && Has(number + n) && DueAt(number + n) <= now_ns) ++n;
    return n;
  }

  // Whether the load ends before a turn that is due at `due_ns`. In an open loop a turn that was
  // due before the end may still be taken late, for kGrace_ns.
  bool IsOver(uint64_t now_ns, uint64_t due_ns) const {
    return now_ns >= end_ns() &&
           (in_flight_ || due_ns >= end_ns() || now_ns >= end_ns() + kGrace_ns);
  }

 private:
  static constexpr uint64_t kGrace_ns = 50'000'000;
  static constexpr uint64_t kLater_ns = 1'000'000'000;

  // The integral of the rate is the number of turns: rate t + slope t^2 / 2 = n.
  // A rate that falls to 0 before turn n never reaches it: a time beyond every load.
  double OffsetOfAll(uint64_t turn) const {
    const double n = static_cast<double>(turn);
    if (slope_ == 0) return n / rate_;
    const double root = rate_ * rate_ + 2 * slope_ * n;
    return root < 0 ? 1e9 : (std::sqrt(root) - rate_) / slope_;
  }

  const double rate_, slope_;  // turns a second, and by how much that grows each second
  const std::vector<CapturedDatagram>* const captured_;  // null: the rate counts
  const uint64_t thread_, threads_;
  const uint64_t turns_max_;
  const uint64_t duration_ns_;
  std::optional<uint64_t> in_flight_;  // closed loop: the thread's share
  uint64_t started_ns_ = 0;
};

}  // namespace wicket::blast
