// Public keys by number. Their private keys are unknown.
#pragma once

#include <string.h>

#include <random>

#include "base/key.h"

namespace wicket {

inline PublicKey KeyOf(uint64_t n) {
  PublicKey key;
  std::mt19937_64 random(n);
  for (size_t i = 0; i < kKeyBytes; i += 8) {
    const uint64_t word = random();
    memcpy(key.bytes.data() + i, &word, 8);
  }
  return key;
}

}  // namespace wicket
