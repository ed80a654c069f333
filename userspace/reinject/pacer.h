// Keeps what is given back below what the other side can answer.
#pragma once

#include <algorithm>
#include <cstdint>

namespace wicket::reinject {

// A token bucket in nanoseconds.
//
// A WireGuard implementation that sees too many handshakes waiting asks its
// clients for cookies, and ours do not count there. The kernel does so at 512
// waiting handshakes, wireguard-go at 128; a burst stays well below, and the rate
// below what one core answers.
class Pacer {
 public:
  Pacer(uint32_t burst, uint32_t per_second)
      : interval_ns_(1'000'000'000ULL / per_second), depth_ns_(interval_ns_ * burst) {}

  // Takes a turn at `now_ns`. Returns: how long to wait before it; 0 at once.
  uint64_t TakeTurn(uint64_t now_ns) {
    const uint64_t earliest = now_ns > depth_ns_ ? now_ns - depth_ns_ : 0;
    next_ns_ = std::max(next_ns_, earliest) + interval_ns_;
    return next_ns_ > now_ns ? next_ns_ - now_ns : 0;
  }

 private:
  uint64_t interval_ns_;
  uint64_t depth_ns_;
  uint64_t next_ns_ = 0;
};

}  // namespace wicket::reinject
