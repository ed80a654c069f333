// BLAKE2s and HKDF of eight handshakes side by side.
//
// Word i of eight strings lies in one vector: there is nothing to shuffle
// between compressions, and chaining keys and hashes stay in that form from one
// step of the handshake to the next.
//
// Thread: any; chosen by CPUID (AVX-512 VL, AVX2, else what every CPU has).
#pragma once

#include <span>

#include "crypto/blake2s.h"

namespace wicket::crypto {

inline constexpr size_t kHashLanes = 8;

// Eight strings of 32 bytes, one a lane; wiped when they go.
class HashLanes {
 public:
  HashLanes() = default;
  HashLanes(const HashLanes&) = delete;
  HashLanes& operator=(const HashLanes&) = delete;
  ~HashLanes();

  void Load(size_t lane, const uint8_t bytes[kHashBytes]);
  void Store(size_t lane, uint8_t bytes[kHashBytes]) const;

  uint32_t words[8][kHashLanes] = {};
};

// *hash = HASH(*hash || input) in every lane, `bytes` from each of eight inputs.
// Requires: 0 < bytes <= 64.
// Cost: one or two compressions; BM_MixHashLanes.
void MixHashLanes(HashLanes* hash, std::span<const uint8_t* const, kHashLanes> inputs,
                  size_t bytes);

// ck = KDF1(ck, input) or, with `key`, ck, key = KDF2(ck, input), in every lane.
// Source: [WG 5.4]. Cost: 8 or 10 compressions; BM_KdfLanes.
void KdfLanes(HashLanes* chaining_key, const HashLanes& input, HashLanes* key);

}  // namespace wicket::crypto
