#include "noise/symmetric_lanes.h"

#include <string.h>

#include "crypto/aead.h"

namespace wicket::noise {

void SymmetricLanes::Begin(const SymmetricState& state) {
  for (size_t lane = 0; lane < kLanes; ++lane) {
    chaining_key_.Load(lane, state.chaining_key().data());
    hash_.Load(lane, state.hash().data());
  }
}

bool SymmetricLanes::Decrypt(size_t lane, const crypto::HashLanes& keys, crypto::Bytes sealed,
                             uint8_t* plaintext) const {
  SymmetricState::Key key;
  crypto::Hash hash;
  keys.Store(lane, key.data());
  hash_.Store(lane, hash.data());
  return crypto::Open(key.data(), 0, sealed, hash, plaintext);
}

void SymmetricLanes::Wipe() {
  explicit_bzero(chaining_key_.words, sizeof(chaining_key_.words));
  explicit_bzero(hash_.words, sizeof(hash_.words));
}

}  // namespace wicket::noise
