// Many quotients of the field of p = 2^255 - 19 by one inversion.
//
// To invert is 254 squarings, each of which waits for the one before: lanes side by side do not
// make that shorter. So one inversion, in the integer unit, is for all.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace wicket::crypto {

// x / z; limbs of 51 bits, < 2^52 [limbs51.h].
struct Ratio51 {
  uint64_t x[5], z[5];
};

inline constexpr size_t kRatiosMax = 64;

// quotients[i] = the 32 bytes of x / z, and 0 where z is 0; nonzero[i] is 0 when quotient i is.
// Each is what it would be alone.
//
// Requires: n <= kRatiosMax.
// Secrets:  constant time in the ratios; up to 9 KiB of stack are left to the caller.
// Source:   Montgomery, "Speeding the Pollard and elliptic curve methods of factorization"
//           (1987), section 10.3.4: simultaneous inversion.
void Divide(const Ratio51 ratios[], size_t n, uint8_t* const quotients[], uint64_t nonzero[]);

}  // namespace wicket::crypto
