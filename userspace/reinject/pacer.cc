#include "reinject/pacer.h"

#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/key.h"
#include "crypto/curve25519.h"

namespace wicket::reinject {
namespace {

constexpr uint32_t kKernelsLoad = 512;
// Handshakes that reach the device without passing the gateway need room too.
constexpr uint32_t kBacklogMax = kKernelsLoad / 2;
// Packets given back may not have arrived yet: a busy CPU defers the work of the network stack.
constexpr uint64_t kSlice_ns = 5'000'000;
constexpr uint64_t kSliceMax = kBacklogMax / 2;

// The best time of a multiplication on this machine; the answer to a handshake takes four. An idle
// core needs some milliseconds to reach its full clock speed.
uint64_t MultiplicationNanos() {
  const Secret<kKeyBytes> scalar = crypto::GeneratePrivateKey();
  const PublicKey point = crypto::DerivePublicKey(scalar);
  Secret<kKeyBytes> product;
  uint64_t best_ns = 3'600'000'000'000;
  const uint64_t end_ns = SteadyNanos() + 20'000'000;
  for (int i = 0; i < 8 || SteadyNanos() < end_ns; ++i) {
    const uint64_t began_ns = SteadyNanos();
    if (!crypto::X25519(scalar, point.bytes.data(), &product)) continue;
    best_ns = std::min(best_ns, SteadyNanos() - began_ns);
  }
  return std::max<uint64_t>(best_ns, 1);
}

}  // namespace

// A handshake costs the kernel four to five multiplications of one core, and wireguard-go twelve to
// seventeen. The intervals leave the rest of the cores' time for other work.
Pace PaceFor(absl::string_view backend) {
  static const uint64_t multiplication_ns = MultiplicationNanos();
  const auto cores = static_cast<uint64_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  if (backend == "uapi") return {24 * multiplication_ns / cores + 1, 64};
  return {8 * multiplication_ns / cores + 1, 256};
}

uint64_t TurnClock::Room(const Pace& pace, uint64_t now_ns) const {
  const uint64_t last_ns = last_ns_.load(std::memory_order_relaxed);
  if (last_ns >= now_ns) return 0;
  return std::min<uint64_t>(pace.burst, (now_ns - last_ns) / pace.interval_ns);
}

void TurnClock::Charge(const Pace& pace, uint64_t turns, uint64_t now_ns) {
  const uint64_t depth_ns = pace.interval_ns * pace.burst;
  const uint64_t earliest_ns = now_ns > depth_ns ? now_ns - depth_ns : 0;
  uint64_t last_ns = last_ns_.load(std::memory_order_relaxed);
  while (!last_ns_.compare_exchange_weak(last_ns,
                                         std::max(last_ns, earliest_ns) + turns * pace.interval_ns,
                                         std::memory_order_relaxed)) {
  }
}

uint64_t Pacer::Room(uint64_t now_ns) {
  const auto waiting = waiting_(now_ns);
  by_time_ = !waiting.has_value() || *waiting >= kKernelsLoad;
  if (by_time_) return clock_->Room(pace_, now_ns);
  const uint64_t on_its_way = now_ns - slice_began_ns_ < kSlice_ns ? slice_given_ : 0;
  return std::min(kBacklogMax - std::min<uint64_t>(kBacklogMax, *waiting),
                  kSliceMax - std::min(kSliceMax, on_its_way));
}

void Pacer::Charge(uint64_t given_back, uint64_t now_ns) {
  if (by_time_) return clock_->Charge(pace_, given_back, now_ns);
  if (now_ns - slice_began_ns_ >= kSlice_ns) {
    slice_began_ns_ = now_ns;
    slice_given_ = 0;
  }
  slice_given_ += given_back;
}

}  // namespace wicket::reinject
