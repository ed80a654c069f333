// A device's own keys, and the parts of the handshake that depend on them alone.
#pragma once

#include "base/key.h"
#include "crypto/curve25519.h"
#include "noise/symmetric_state.h"

namespace wicket::noise {

// The state after "Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s", WireGuard's own prologue and the
// responder's key. [WG 5.4]
SymmetricState InitialState(const PublicKey& responder);

// HASH("mac1----" || public key): the key of mac1 in messages to `receiver`. [WG 5.4.4]
crypto::Hash Mac1Key(const PublicKey& receiver);
// The key that seals the cookie replies of `responder`. Source: [WG 5.4.7]
crypto::Hash CookieKey(const PublicKey& responder);

// The responder's long-lived state.
//
// Thread:  any; immutable.
// Secrets: make it with crypto::Locked<Identity>::Make.
class Identity {
 public:
  explicit Identity(const Secret<kKeyBytes>& private_key)
      : private_key_(private_key.Clone()),
        public_key_(crypto::DerivePublicKey(private_key_)),
        mac1_key_(Mac1Key(public_key_)),
        cookie_key_(CookieKey(public_key_)),
        initial_(InitialState(public_key_)) {}

  const Secret<kKeyBytes>& private_key() const { return private_key_; }
  const PublicKey& public_key() const { return public_key_; }
  const crypto::Hash& mac1_key() const { return mac1_key_; }
  const crypto::Hash& cookie_key() const { return cookie_key_; }
  const SymmetricState& initial() const { return initial_; }

 private:
  Secret<kKeyBytes> private_key_;
  PublicKey public_key_;
  crypto::Hash mac1_key_, cookie_key_;
  SymmetricState initial_;
};

}  // namespace wicket::noise
