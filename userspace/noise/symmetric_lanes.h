// The Noise symmetric state of eight handshakes side by side.
#pragma once

#include "crypto/blake2s_lanes.h"
#include "noise/symmetric_state.h"

namespace wicket::noise {

// The names are those of SymmetricState, and so is what they do, in every lane.
//
// Secrets: wiped when it goes.
class SymmetricLanes {
 public:
  static constexpr size_t kLanes = crypto::kHashLanes;
  using Inputs = std::span<const uint8_t* const, kLanes>;

  void Begin(const SymmetricState& state);
  void MixHash(Inputs inputs, size_t bytes) { crypto::MixHashLanes(&hash_, inputs, bytes); }
  void MixKey(const crypto::HashLanes& input, crypto::HashLanes* key) {
    crypto::KdfLanes(&chaining_key_, input, key);
  }
  void MixChainingKey(const crypto::HashLanes& input) {
    crypto::KdfLanes(&chaining_key_, input, nullptr);
  }
  // Opens one lane's text into sealed.size() - 16 bytes, and mixes nothing in.
  [[nodiscard]] bool Decrypt(size_t lane, const crypto::HashLanes& keys, crypto::Bytes sealed,
                             uint8_t* plaintext) const;
  void Wipe();

 private:
  crypto::HashLanes chaining_key_;
  crypto::HashLanes hash_;
};

}  // namespace wicket::noise
