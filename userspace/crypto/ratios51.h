// Many divisions in the field of p = 2^255 - 19 with one inversion (Montgomery's trick).
//
// An inversion is 254 dependent squarings, which SIMD lanes cannot shorten. So one scalar inversion
// serves the whole batch.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace wicket::crypto {

// x / z, in 51-bit limbs < 2^52 [limbs51.h].
struct Ratio51 {
  uint64_t x[5], z[5];
};

inline constexpr size_t kRatiosMax = 64;

// quotients[i] = the 32 bytes of x / z, or 0 where z is 0. nonzero[i] is 0 when quotient i is 0.
// The result of a ratio does not depend on the others.
//
// Requires: n <= kRatiosMax.
// Secrets:  constant time in the ratios; leaves up to 9 KiB of stack for the caller to wipe.
// Source:   Montgomery, "Speeding the Pollard and elliptic curve methods of factorization"
//           (1987), section 10.3.4: simultaneous inversion.
void Divide(const Ratio51 ratios[], size_t n, uint8_t* const quotients[], uint64_t nonzero[]);

}  // namespace wicket::crypto
