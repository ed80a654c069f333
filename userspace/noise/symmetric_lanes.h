// The Noise symmetric state of eight handshakes in parallel.
#pragma once

#include "crypto/blake2s_lanes.h"
#include "noise/symmetric_state.h"

namespace wicket::noise {

// Each method does what SymmetricState's method of the same name does, in every lane.
//
// Secrets: wiped on destruction.
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
  // Opens the text of one lane into sealed.size() - 16 bytes. Does not mix it into the hash.
  [[nodiscard]] bool Decrypt(size_t lane, const crypto::HashLanes& keys, crypto::Bytes sealed,
                             uint8_t* plaintext) const;
  void Wipe();

 private:
  crypto::HashLanes chaining_key_;
  crypto::HashLanes hash_;
};

}  // namespace wicket::noise
