// Compiled for AVX-512 VL, which rotates words in one instruction.
#include "crypto/blake2s_instances.h"
#include "crypto/blake2s_vector.h"

namespace wicket::crypto {

void MixHashAvx512(uint32_t hash[8][8], const uint32_t (*message)[8], uint32_t bytes) {
  MixHashVector(hash, message, bytes);
}
void KdfAvx512(uint32_t chaining_key[8][8], const uint32_t input[8][8], uint32_t (*key)[8]) {
  KdfVector(chaining_key, input, key);
}

}  // namespace wicket::crypto
