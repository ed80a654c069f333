// X25519 for many points at once, on as many lanes as the CPU has.
//
//   ifma8      AVX-512 IFMA: 8 multiplications in the time of 1.1
//   avx2x4     AVX2 and FMA: 4 in the time of 1.6
//   portable   libsodium, one after the other: always there, the reference
//
// A set of lanes costs the same however many of them are wanted: empty ones are
// filled up, and one point goes to libsodium.
#pragma once

#include <span>

#include "absl/strings/string_view.h"
#include "base/key.h"
#include "base/secret.h"
#include "base/status.h"

namespace wicket::crypto {

enum class X25519Backend : uint8_t { kPortable, kAvx2x4, kIfma8 };

const char* ToString(X25519Backend backend);

// Whether this CPU has the instructions, and the kernel saves their registers.
bool RunsHere(X25519Backend backend);
X25519Backend FastestX25519();

// Reads a back end's name, or "auto", which is the fastest.
// Errors: names that are none, and back ends that this CPU lacks.
absl::StatusOr<X25519Backend> ParseX25519Backend(absl::string_view name);

// shared[i] = scalar * points[i], where points[i] are 32 bytes anywhere.
// is_secret[i] is false when that product is all zero, which a low-order point
// makes of every scalar; shared[i] must not be used then. Lanes do not see each other.
//
// Requires: RunsHere(backend); spans of one size, any size.
// Secrets:  constant time in the scalar and the points.
// Cost:     BM_X25519Batch.
// Source:   [RFC 7748]
void X25519Batch(X25519Backend backend, const Secret<kKeyBytes>& scalar,
                 std::span<const uint8_t* const> points, std::span<Secret<kKeyBytes>> shared,
                 std::span<bool> is_secret);

// The same with a scalar for every point.
void X25519BatchEach(X25519Backend backend, std::span<const Secret<kKeyBytes>* const> scalars,
                     std::span<const uint8_t* const> points, std::span<Secret<kKeyBytes>> shared,
                     std::span<bool> is_secret);

}  // namespace wicket::crypto
