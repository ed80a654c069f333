// The back ends of X25519Batch(): each multiplies a full set of lanes.
#pragma once

#include <stdint.h>

#include "crypto/ratios51.h"

namespace wicket::crypto {

// products[i] = scalars[i] * points[i] for every lane i, as a ratio that is still to be divided.
// Scalars and points are 32 bytes each, at any alignment. The `OneScalar` variants multiply every
// point by scalars[0].
//
// Requires: a CPU that has the instructions; see RunsHere().
// Secrets:  constant time; wipes vector registers, and leaves up to 16 KiB of stack for the caller
//           to wipe.
using X25519Lanes = void (*)(const uint8_t* const scalars[], const uint8_t* const points[],
                             Ratio51 products[]);

inline constexpr int kIfma8Lanes = 8;
void X25519Ifma8(const uint8_t* const scalars[], const uint8_t* const points[], Ratio51 products[]);
void X25519Ifma8OneScalar(const uint8_t* const scalars[], const uint8_t* const points[],
                          Ratio51 products[]);

inline constexpr int kAvx2x4Lanes = 4;
void X25519Avx2x4(const uint8_t* const scalars[], const uint8_t* const points[],
                  Ratio51 products[]);
void X25519Avx2x4OneScalar(const uint8_t* const scalars[], const uint8_t* const points[],
                           Ratio51 products[]);

}  // namespace wicket::crypto
