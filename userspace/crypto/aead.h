// ChaCha20-Poly1305 with the nonces of the handshake.
#pragma once

#include <cstdint>

#include "crypto/blake2s.h"

namespace wicket::crypto {

inline constexpr size_t kTagBytes = 16;

// Seals `plaintext` into plaintext.size() + 16 bytes at `out`.
// The nonce is 32 zero bits and `counter` as 64 little-endian bits.
// Source: [RFC 8439], [WG 5.4]
void Seal(const uint8_t key[32], uint64_t counter, Bytes plaintext, Bytes associated, uint8_t* out);

// Opens `sealed` into sealed.size() - 16 bytes at `out`.
// Requires: sealed.size() >= 16.
// Returns:  false when the tag does not verify; do not use `out` then.
[[nodiscard]] bool Open(const uint8_t key[32], uint64_t counter, Bytes sealed, Bytes associated,
                        uint8_t* out);

// XChaCha20-Poly1305, for cookies: the same with a random nonce of 24 bytes.
// Source: draft-irtf-cfrg-xchacha
void SealX(const uint8_t key[32], const uint8_t nonce[24], Bytes plaintext, Bytes associated,
           uint8_t* out);
[[nodiscard]] bool OpenX(const uint8_t key[32], const uint8_t nonce[24], Bytes sealed,
                         Bytes associated, uint8_t* out);

}  // namespace wicket::crypto
