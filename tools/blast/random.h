// The random numbers of one thread's load.
#pragma once

#include <bit>
#include <cstdint>

namespace wicket::blast {

// xoroshiro128+: the same numbers for the same seed and thread. For loads, not for keys.
//
// Thread: one.
class Random {
 public:
  // `thread`: below 1000, so that no two threads of two seeds below 2^54 have the same numbers.
  Random(uint64_t seed, uint32_t thread) : state_{seed * 1000 + thread, 0x9e3779b97f4a7c15} {}

  // Uniform in 0..2^64-1.
  uint64_t Next() {
    const uint64_t a = state_[0], result = a + state_[1], b = state_[1] ^ a;
    state_[0] = std::rotl(a, 24) ^ b ^ (b << 16);
    state_[1] = std::rotl(b, 37);
    return result;
  }

 private:
  uint64_t state_[2];
};

}  // namespace wicket::blast
