#include "noise/symmetric_state.h"

#include <algorithm>

#include "crypto/aead.h"

namespace wicket::noise {
namespace {

crypto::Bytes View(const SymmetricState::Key& key) { return {key.data(), key.size()}; }

}  // namespace

SymmetricState::SymmetricState(crypto::Bytes protocol_name) {
  if (protocol_name.size() <= hash_.size()) {
    std::copy(protocol_name.begin(), protocol_name.end(), hash_.begin());
  } else {
    hash_ = crypto::HashOf({protocol_name});
  }
  std::copy(hash_.begin(), hash_.end(), chaining_key_.data());
}

SymmetricState SymmetricState::Clone() const {
  SymmetricState copy;
  copy.chaining_key_ = chaining_key_.Clone();
  copy.hash_ = hash_;
  return copy;
}

void SymmetricState::MixHash(crypto::Bytes data) { hash_ = crypto::HashOf({hash_, data}); }

SymmetricState::Key SymmetricState::MixKey(crypto::Bytes input) {
  Key key;
  crypto::Kdf(View(chaining_key_), input, {chaining_key_.data(), key.data()});
  return key;
}

void SymmetricState::MixChainingKey(crypto::Bytes input) {
  crypto::Kdf(View(chaining_key_), input, {chaining_key_.data()});
}

SymmetricState::Key SymmetricState::MixKeyAndHash(crypto::Bytes psk) {
  Key temporary, key;
  crypto::Kdf(View(chaining_key_), psk, {chaining_key_.data(), temporary.data(), key.data()});
  MixHash(View(temporary));
  return key;
}

void SymmetricState::EncryptAndHash(const Key& key, crypto::Bytes plaintext, uint8_t* sealed) {
  crypto::Seal(key.data(), 0, plaintext, hash_, sealed);
  MixHash({sealed, plaintext.size() + crypto::kTagBytes});
}

bool SymmetricState::DecryptAndHash(const Key& key, crypto::Bytes sealed, uint8_t* plaintext) {
  if (!crypto::Open(key.data(), 0, sealed, hash_, plaintext)) return false;
  MixHash(sealed);
  return true;
}

void SymmetricState::Split(Key* initiator_to_responder, Key* responder_to_initiator) const {
  crypto::Kdf(View(chaining_key_), {},
              {initiator_to_responder->data(), responder_to_initiator->data()});
}

}  // namespace wicket::noise
