// Conversion of 32 bytes to five 51-bit limbs and back, one field element at a time.
//
// The back ends of X25519Batch() are compiled for instruction sets that not every CPU has. So a
// back end must not emit a function that the linker could choose for the whole program. What it
// includes may hold only templates over its own lane types and functions with internal linkage,
// and nothing of the standard library.
#pragma once

#include <stdint.h>
#include <string.h>

namespace wicket::crypto {

inline constexpr uint64_t kMask51 = (uint64_t{1} << 51) - 1;

// A u-coordinate; ignores bit 255 and accepts values from p to 2^255 - 1.
// Source: [RFC 7748 5], decodeUCoordinate.
static inline void LimbsOfBytes(const uint8_t bytes[32], uint64_t limbs[5]) {
  uint64_t word[4];
  memcpy(word, bytes, sizeof(word));
  limbs[0] = word[0] & kMask51;
  limbs[1] = (word[0] >> 51 | word[1] << 13) & kMask51;
  limbs[2] = (word[1] >> 38 | word[2] << 26) & kMask51;
  limbs[3] = (word[2] >> 25 | word[3] << 39) & kMask51;
  limbs[4] = (word[3] >> 12) & kMask51;
}

// The canonical encoding, below p.
//
// Requires: limbs < 2^52.
// Returns:  the OR of its four 64-bit words, which is 0 only for the element 0.
//
// One pass of carries leaves v < 2^255 + 57: limbs 1 to 4 are below 2^51, and limb 0 is below
// 2^51 + 19 * 3, since limb 4 carried less than 3 * 2^51. That is below 2 p, so p is subtracted at
// most once: q = (v + 19) >> 255 times, and v - q p = v + 19 q - q 2^255.
static inline uint64_t BytesOfLimbs(const uint64_t limbs[5], uint8_t bytes[32]) {
  uint64_t v[5], carry = 0;
  for (int i = 0; i < 5; ++i) {
    v[i] = limbs[i] + carry;
    carry = v[i] >> 51;
    v[i] &= kMask51;
  }
  v[0] += 19 * carry;
  uint64_t q = 19;
  for (int i = 0; i < 5; ++i) q = (v[i] + q) >> 51;
  carry = 19 * q;
  for (int i = 0; i < 5; ++i) {
    v[i] += carry;
    carry = v[i] >> 51;
    v[i] &= kMask51;
  }
  const uint64_t word[4] = {v[0] | v[1] << 51, v[1] >> 13 | v[2] << 38, v[2] >> 26 | v[3] << 25,
                            v[3] >> 39 | v[4] << 12};
  memcpy(bytes, word, sizeof(word));
  return word[0] | word[1] | word[2] | word[3];
}

}  // namespace wicket::crypto
