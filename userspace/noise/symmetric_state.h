// The Noise symmetric state: a chaining key and a transcript hash.
#pragma once

#include "base/secret.h"
#include "crypto/blake2s.h"

namespace wicket::noise {

// Names follow section 5.2 of the Noise specification, with one exception: MixKey and MixKeyAndHash
// return the key instead of storing it, since WireGuard's handshake uses each key once.
//
// Secrets: wiped on destruction.
class SymmetricState {
 public:
  using Key = Secret<crypto::kHashBytes>;

  SymmetricState() = default;
  // Starts from HASH(protocol_name), or from the zero-padded name when it fits into a hash.
  explicit SymmetricState(crypto::Bytes protocol_name);
  SymmetricState Clone() const;

  void MixHash(crypto::Bytes data);
  // ck, k = KDF2(ck, input).
  Key MixKey(crypto::Bytes input);
  // ck = KDF1(ck, input): MixKey where no key is needed, as for ephemeral keys in psk patterns.
  void MixChainingKey(crypto::Bytes input);
  // ck, t, k = KDF3(ck, psk); h = HASH(h || t).
  Key MixKeyAndHash(crypto::Bytes psk);

  // Seals under (key, nonce 0, h) into plaintext.size() + 16 bytes, and mixes the sealed bytes in.
  void EncryptAndHash(const Key& key, crypto::Bytes plaintext, uint8_t* sealed);
  // Opens into sealed.size() - 16 bytes, and mixes `sealed` in.
  // Returns: false when the tag does not verify; the state is then unchanged.
  [[nodiscard]] bool DecryptAndHash(const Key& key, crypto::Bytes sealed, uint8_t* plaintext);

  const crypto::Hash& hash() const { return hash_; }
  const Key& chaining_key() const { return chaining_key_; }
  // Derives the two transport keys.
  void Split(Key* initiator_to_responder, Key* responder_to_initiator) const;

 private:
  Key chaining_key_;
  crypto::Hash hash_{};
};

}  // namespace wicket::noise
