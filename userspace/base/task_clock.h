// How long a thread that sleeps between its tasks has been at the one under way.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/clock.h"

namespace wicket {

// Thread: Begin() and End() by one, Seconds() by any.
class TaskClock {
 public:
  void Begin() { began_ns_.store(SteadyNanos(), std::memory_order_relaxed); }
  void End() { began_ns_.store(0, std::memory_order_relaxed); }
  // Returns: 0 while the thread sleeps.
  double Seconds() const {
    const uint64_t began_ns = began_ns_.load(std::memory_order_relaxed);
    return began_ns == 0 ? 0 : SecondsSince(began_ns);
  }

 private:
  std::atomic<uint64_t> began_ns_{0};
};

}  // namespace wicket
