// Keeps what is given back below what the other side can answer.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace wicket::reinject {

// How fast one kind of packet may go: one an interval, and so many at once.
struct Pace {
  uint64_t interval_ns = 0;
  uint32_t burst = 1;
};

// A token bucket in nanoseconds, of which all who give back take their turns.
//
// A WireGuard implementation that sees too many handshakes waiting asks its
// clients for cookies, and ours do not count there. The kernel does so at 512
// waiting handshakes, for all of its devices, and wireguard-go at 128; a burst stays well
// below, and the rate below what the machine answers.
//
// Thread: any.
class Pacer {
 public:
  // Takes a turn at `now_ns`. Returns: how long to wait before it; 0 at once.
  uint64_t TakeTurn(const Pace& pace, uint64_t now_ns) {
    const uint64_t depth_ns = pace.interval_ns * pace.burst;
    const uint64_t earliest = now_ns > depth_ns ? now_ns - depth_ns : 0;
    uint64_t last_ns = last_ns_.load(std::memory_order_relaxed), turn_ns;
    do {
      turn_ns = std::max(last_ns, earliest) + pace.interval_ns;
    } while (!last_ns_.compare_exchange_weak(last_ns, turn_ns, std::memory_order_relaxed));
    return turn_ns > now_ns ? turn_ns - now_ns : 0;
  }

 private:
  std::atomic<uint64_t> last_ns_{0};
};

}  // namespace wicket::reinject
