#include "crypto/blake2s_lanes.h"

#include <sodium.h>
#include <string.h>

#include "crypto/blake2s_instances.h"
#include "crypto/blake2s_vector.h"

namespace wicket::crypto {
namespace {

constexpr size_t kStackBytes = 8192;  // more than an instance leaves: 5 KiB

struct Instance {
  MixHashInstance mix_hash;
  KdfInstance kdf;
};

Instance Fastest() {
  if (__builtin_cpu_supports("avx512vl")) return {MixHashAvx512, KdfAvx512};
  if (__builtin_cpu_supports("avx2")) return {MixHashAvx2, KdfAvx2};
  return {MixHashVector, KdfVector};
}

const Instance kInstance = Fastest();

}  // namespace

HashLanes::~HashLanes() { explicit_bzero(words, sizeof(words)); }

void HashLanes::Load(size_t lane, const uint8_t bytes[kHashBytes]) {
  for (size_t i = 0; i < 8; ++i) memcpy(&words[i][lane], bytes + 4 * i, 4);
}

void HashLanes::Store(size_t lane, uint8_t bytes[kHashBytes]) const {
  for (size_t i = 0; i < 8; ++i) memcpy(bytes + 4 * i, &words[i][lane], 4);
}

void MixHashLanes(HashLanes* hash, std::span<const uint8_t* const, kHashLanes> inputs,
                  size_t bytes) {
  alignas(32) uint32_t message[2 * 16][kHashLanes];
  memcpy(message, hash->words, sizeof(hash->words));
  const size_t words = (bytes + 3) / 4;
  for (size_t lane = 0; lane < kHashLanes; ++lane) {
    uint32_t input[16] = {};
    memcpy(input, inputs[lane], bytes);
    for (size_t i = 0; i < words; ++i) message[8 + i][lane] = input[i];
  }
  memset(message[8 + words], 0, sizeof(message) - (8 + words) * sizeof(message[0]));
  kInstance.mix_hash(hash->words, message, static_cast<uint32_t>(kHashBytes + bytes));
}

void KdfLanes(HashLanes* chaining_key, const HashLanes& input, HashLanes* key) {
  kInstance.kdf(chaining_key->words, input.words, key == nullptr ? nullptr : key->words);
  sodium_stackzero(kStackBytes);
}

}  // namespace wicket::crypto
