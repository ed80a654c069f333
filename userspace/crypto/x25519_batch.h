// X25519 for many points at once, in SIMD lanes where the CPU has them.
//
//   ifma8      AVX-512 IFMA: 8 multiplications in the time of 1.4 [docs/results.md]
//   avx2x4     AVX2 and FMA: 4 in the time of 1.4
//   portable   libsodium, one at a time: runs anywhere, and is the reference
//
// A set of lanes costs the same whether it is full or not: unused lanes repeat a point. A single
// point goes to libsodium.
#pragma once

#include <span>

#include "absl/strings/string_view.h"
#include "base/key.h"
#include "base/secret.h"
#include "base/status.h"

namespace wicket::crypto {

enum class X25519Backend : uint8_t { kPortable, kAvx2x4, kIfma8 };

const char* ToString(X25519Backend backend);

// Returns: whether this CPU has the instructions, and the kernel saves their registers.
bool RunsHere(X25519Backend backend);
X25519Backend FastestX25519();

// Reads the name of a back end, or "auto" for the fastest one.
// Errors: InvalidArgument for other names, FailedPrecondition when this CPU lacks the back end.
absl::StatusOr<X25519Backend> ParseX25519Backend(absl::string_view name);

// shared[i] = scalar * points[i], where points[i] are 32 bytes at any alignment. is_secret[i] is
// false when the product is all zero, as it is for a low-order point and any scalar; do not use
// shared[i] then. The result of a point does not depend on the others.
//
// Requires: RunsHere(backend); spans of one size, any size.
// Secrets:  constant time in the scalar and the points.
// Cost:     BM_X25519Batch.
// Source:   [RFC 7748]
void X25519Batch(X25519Backend backend, const Secret<kKeyBytes>& scalar,
                 std::span<const uint8_t* const> points, std::span<Secret<kKeyBytes>> shared,
                 std::span<bool> is_secret);

// The same, with a scalar for each point.
void X25519BatchEach(X25519Backend backend, std::span<const Secret<kKeyBytes>* const> scalars,
                     std::span<const uint8_t* const> points, std::span<Secret<kKeyBytes>> shared,
                     std::span<bool> is_secret);

}  // namespace wicket::crypto
