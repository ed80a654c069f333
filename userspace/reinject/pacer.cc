#include "reinject/pacer.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "base/key.h"
#include "crypto/curve25519.h"

namespace wicket::reinject {
namespace {

// Half of what makes the kernel ask for cookies: what comes to the device past us needs room too.
constexpr uint32_t kBacklogMax = 256;

// What a multiplication takes on this machine, at best: a handshake is answered with four. It takes
// some milliseconds until a core that has idled is at its speed.
uint64_t MultiplicationNanos() {
  using Clock = std::chrono::steady_clock;
  const Secret<kKeyBytes> scalar = crypto::GeneratePrivateKey();
  const PublicKey point = crypto::DerivePublicKey(scalar);
  Secret<kKeyBytes> product;
  Clock::duration best = std::chrono::hours(1);
  const Clock::time_point end = Clock::now() + std::chrono::milliseconds(20);
  for (int i = 0; i < 8 || Clock::now() < end; ++i) {
    const Clock::time_point began = Clock::now();
    if (!crypto::X25519(scalar, point.bytes.data(), &product)) continue;
    best = std::min(best, Clock::now() - began);
  }
  return static_cast<uint64_t>(std::max<int64_t>(std::chrono::nanoseconds(best).count(), 1));
}

// A handshake takes a core of the kernel's four to five multiplications' time, and one of
// wireguard-go's twelve to seventeen; the rest of the cores' time is for all else.
Pace PaceFor(absl::string_view backend) {
  static const uint64_t multiplication_ns = MultiplicationNanos();
  const auto cores = static_cast<uint64_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  if (backend == "uapi") return {24 * multiplication_ns / cores + 1, 64};
  return {8 * multiplication_ns / cores + 1, 256};
}

}  // namespace

uint32_t TurnClock::Take(const Pace& pace, uint32_t most, uint64_t now_ns) {
  const uint64_t depth_ns = pace.interval_ns * pace.burst;
  const uint64_t earliest_ns = now_ns > depth_ns ? now_ns - depth_ns : 0;
  uint64_t last_ns = last_ns_.load(std::memory_order_relaxed), from_ns, turns;
  do {
    from_ns = std::max(last_ns, earliest_ns);
    turns = from_ns < now_ns ? std::min<uint64_t>(most, (now_ns - from_ns) / pace.interval_ns) : 0;
    if (turns == 0) return 0;
  } while (!last_ns_.compare_exchange_weak(last_ns, from_ns + turns * pace.interval_ns,
                                           std::memory_order_relaxed));
  return static_cast<uint32_t>(turns);
}

void TurnClock::Return(const Pace& pace, uint32_t turns) {
  last_ns_.fetch_sub(turns * pace.interval_ns, std::memory_order_relaxed);
}

Pacer::Pacer(absl::string_view backend, int ifindex, TurnClock* clock)
    : clock_(clock), pace_(PaceFor(backend)) {
  if (backend != "netlink") {
    uncounted_ = absl::UnimplementedError("a user-space WireGuard does not tell");
    return;
  }
  auto backlog = Backlog::Open(ifindex);
  if (backlog.ok()) backlog_ = std::move(*backlog);
  uncounted_ = backlog.status();
}

uint32_t Pacer::Take(uint32_t most, uint64_t now_ns) {
  const auto waiting = backlog_ != nullptr ? backlog_->Waiting(now_ns) : std::nullopt;
  counted_ = waiting.has_value();
  if (!counted_) return clock_->Take(pace_, most, now_ns);
  return std::min(most, kBacklogMax - std::min(kBacklogMax, *waiting));
}

void Pacer::Return(uint32_t turns) {
  if (!counted_) clock_->Return(pace_, turns);
}

}  // namespace wicket::reinject
