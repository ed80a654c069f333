// BLAKE2s and HKDF of eight handshakes in parallel.
//
// Word i of all eight strings is in one vector. So nothing is shuffled between compressions, and
// chaining keys and hashes stay in this form from one step of the handshake to the next.
//
// Thread: any. CPUID selects the instance: AVX-512 VL, AVX2, or one that every CPU runs.
#pragma once

#include <span>

#include "crypto/blake2s.h"

namespace wicket::crypto {

inline constexpr size_t kHashLanes = 8;

// Eight strings of 32 bytes, one a lane; wiped on destruction.
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

// *hash = HASH(*hash || input) in every lane, with `bytes` bytes of its input.
// Requires: 0 < bytes <= 64.
// Cost: one or two compressions; BM_MixHashLanes.
void MixHashLanes(HashLanes* hash, std::span<const uint8_t* const, kHashLanes> inputs,
                  size_t bytes);

// ck = KDF1(ck, input) or, unless `key` is null, ck, key = KDF2(ck, input), in every lane.
// Source: [WG 5.4]. Cost: 8 or 10 compressions; BM_KdfLanes.
void KdfLanes(HashLanes* chaining_key, const HashLanes& input, HashLanes* key);

}  // namespace wicket::crypto
