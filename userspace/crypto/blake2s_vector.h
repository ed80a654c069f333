// Eight BLAKE2s states in eight vectors of words, for the instruction set that the including file
// is compiled for; limbs51.h says what such a file must not include.
//
// Source: [RFC 7693]; the rounds of xdp/blake2s.h, on vectors instead of words.
#pragma once

#include <stdint.h>
#include <string.h>

#include "xdp/blake2s.h"

namespace wicket::crypto {
namespace {

using HashVector = uint32_t __attribute__((vector_size(32)));
static_assert(sizeof(HashVector) == 8 * sizeof(uint32_t));

inline void Begin(HashVector h[8]) {
  uint32_t words[8];
  blake2s_begin(words, BLAKE2S_HASH_BYTES, 0);
  for (int i = 0; i < 8; ++i) h[i] = HashVector{} + words[i];
}

// The same as blake2s_compress(). Requires: total_bytes < 2^32.
inline void Compress(HashVector h[8], const HashVector m[16], uint32_t total_bytes, bool is_last) {
  HashVector v0 = h[0], v1 = h[1], v2 = h[2], v3 = h[3], v4 = h[4], v5 = h[5], v6 = h[6], v7 = h[7];
  HashVector v8 = HashVector{} + BLAKE2S_IV0, v9 = HashVector{} + BLAKE2S_IV1;
  HashVector va = HashVector{} + BLAKE2S_IV2, vb = HashVector{} + BLAKE2S_IV3;
  HashVector vc = HashVector{} + (BLAKE2S_IV4 ^ total_bytes), vd = HashVector{} + BLAKE2S_IV5;
  HashVector ve = HashVector{} + (is_last ? ~BLAKE2S_IV6 : BLAKE2S_IV6);
  HashVector vf = HashVector{} + BLAKE2S_IV7;
  BLAKE2S_ROUNDS(BLAKE2S_G)
  h[0] ^= v0 ^ v8;
  h[1] ^= v1 ^ v9;
  h[2] ^= v2 ^ va;
  h[3] ^= v3 ^ vb;
  h[4] ^= v4 ^ vc;
  h[5] ^= v5 ^ vd;
  h[6] ^= v6 ^ ve;
  h[7] ^= v7 ^ vf;
}

// HMAC with a key of one hash length. Keeps the states after the padded key, since KDF2 uses the
// second key twice. [RFC 2104]
struct HmacKey {
  explicit HmacKey(const HashVector key[8]) {
    HashVector pad[16];
    Begin(inner);
    Begin(outer);
    for (int i = 0; i < 16; ++i) pad[i] = (i < 8 ? key[i] : HashVector{}) ^ 0x36363636u;
    Compress(inner, pad, BLAKE2S_BLOCK_BYTES, false);
    for (int i = 0; i < 16; ++i) pad[i] = (i < 8 ? key[i] : HashVector{}) ^ 0x5c5c5c5cu;
    Compress(outer, pad, BLAKE2S_BLOCK_BYTES, false);
  }
  // The HMAC of one block that holds `bytes` of input.
  void Digest(const HashVector input[16], uint32_t bytes, HashVector out[8]) const {
    HashVector digest[16] = {};
    memcpy(digest, inner, sizeof(inner));
    Compress(digest, input, BLAKE2S_BLOCK_BYTES + bytes, true);
    memcpy(out, outer, sizeof(outer));
    Compress(out, digest, BLAKE2S_BLOCK_BYTES + BLAKE2S_HASH_BYTES, true);
  }
  HashVector inner[8], outer[8];
};

inline void LoadWords(HashVector* out, const uint32_t (*words)[8], int count) {
  memcpy(out, words, sizeof(HashVector) * static_cast<size_t>(count));
}

// hash = HASH(message), of `bytes` bytes in blocks of 16 words. It starts with the hash as it was.
inline void MixHashVector(uint32_t hash[8][8], const uint32_t (*message)[8], uint32_t bytes) {
  HashVector h[8], block[16];
  Begin(h);
  uint32_t done = 0;
  do {
    LoadWords(block, message + done / 4, 16);
    const bool is_last = bytes - done <= BLAKE2S_BLOCK_BYTES;
    done = is_last ? bytes : done + BLAKE2S_BLOCK_BYTES;
    Compress(h, block, done, is_last);
  } while (done < bytes);
  memcpy(hash, h, sizeof(h));
}

inline void KdfVector(uint32_t chaining_key[8][8], const uint32_t input[8][8], uint32_t (*key)[8]) {
  HashVector ck[8], block[16] = {}, prk[8], next[16] = {};
  LoadWords(ck, chaining_key, 8);
  LoadWords(block, input, 8);
  HmacKey(ck).Digest(block, BLAKE2S_HASH_BYTES, prk);
  const HmacKey hmac(prk);
  memset(block, 0, sizeof(block));
  block[0] = HashVector{} + 1u;
  hmac.Digest(block, 1, next);  // T1 = HMAC(prk, 1)
  memcpy(chaining_key, next, 8 * sizeof(HashVector));
  if (key == nullptr) return;
  next[8] = HashVector{} + 2u;
  hmac.Digest(next, BLAKE2S_HASH_BYTES + 1, ck);  // T2 = HMAC(prk, T1 || 2)
  memcpy(key, ck, sizeof(ck));
}

}  // namespace
}  // namespace wicket::crypto
