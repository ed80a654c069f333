// The instances of blake2s_vector.h, one for each instruction set.
#pragma once

#include <stdint.h>

namespace wicket::crypto {

// `message` starts with the hash itself and is zero-padded to whole blocks; `bytes`: without the
// padding. `key`: null for KDF1.
using MixHashInstance = void (*)(uint32_t hash[8][8], const uint32_t (*message)[8], uint32_t bytes);
using KdfInstance = void (*)(uint32_t chaining_key[8][8], const uint32_t input[8][8],
                             uint32_t (*key)[8]);

void MixHashAvx2(uint32_t hash[8][8], const uint32_t (*message)[8], uint32_t bytes);
void KdfAvx2(uint32_t chaining_key[8][8], const uint32_t input[8][8], uint32_t (*key)[8]);
void MixHashAvx512(uint32_t hash[8][8], const uint32_t (*message)[8], uint32_t bytes);
void KdfAvx512(uint32_t chaining_key[8][8], const uint32_t input[8][8], uint32_t (*key)[8]);

}  // namespace wicket::crypto
