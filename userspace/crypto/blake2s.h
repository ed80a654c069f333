// BLAKE2s, HMAC-BLAKE2s and HKDF as the WireGuard handshake uses them.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>

#include "base/secret.h"

namespace wicket::crypto {

inline constexpr size_t kHashBytes = 32;
inline constexpr size_t kMacBytes = 16;
using Hash = std::array<uint8_t, kHashBytes>;
using Mac = std::array<uint8_t, kMacBytes>;
using Bytes = std::span<const uint8_t>;

// Incremental BLAKE2s; wiped on destruction.
//
// Cost:   one compression per 64 bytes; BM_Blake2sCompress.
// Source: [RFC 7693]
class Blake2s {
 public:
  // Requires: 1 <= out_bytes <= 32, key.size() <= 32.
  explicit Blake2s(size_t out_bytes, Bytes key = {});
  ~Blake2s();

  Blake2s& Update(Bytes input);
  // Writes out_bytes; the object must not be used again.
  void Final(uint8_t* out);

 private:
  uint32_t h_[8];
  alignas(4) uint8_t block_[64];
  uint64_t total_ = 0;
  size_t used_ = 0;
  size_t out_bytes_;
};

// Hash(a || b || ...). Source: [WG 5.4]
Hash HashOf(std::initializer_list<Bytes> parts);

// Keyed BLAKE2s-128, the function of mac1 and mac2. Source: [WG 5.4.4]
Mac MacOf(Bytes key, Bytes input);

// Derives one to three outputs of 32 bytes from a chaining key of 32 bytes and input. An output may
// be the chaining key itself.
// Source: [WG 5.4], [RFC 5869] with HMAC-BLAKE2s
void Kdf(Bytes chaining_key, Bytes input, std::initializer_list<uint8_t*> outputs);

}  // namespace wicket::crypto
