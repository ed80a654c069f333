#include "noise/initiator.h"

#include <string.h>

#include <algorithm>
#include <array>

namespace wicket::noise {

namespace {

// The products of the four multiplications of an initiation.
struct Products {
  PublicKey self, ephemeral;
  Secret<kKeyBytes> es, ss;
};

PendingHandshake Assemble(const Initiator& initiator, const PublicKey& responder,
                          const Products& products) {
  PendingHandshake pending{{}, initiator.ephemeral_private->Clone(), InitialState(responder)};
  wire::Initiation& message = pending.message;
  SymmetricState& state = pending.state;
  message.type = {1, 0, 0, 0};
  memcpy(message.sender_index.data(), &initiator.sender_index, sizeof(initiator.sender_index));
  /* e */
  message.ephemeral = products.ephemeral.bytes;
  state.MixHash(message.ephemeral);
  state.MixChainingKey(message.ephemeral);
  /* es */
  const SymmetricState::Key static_key = state.MixKey({products.es.data(), products.es.size()});
  /* s */
  state.EncryptAndHash(static_key, products.self.bytes, message.encrypted_static.data());
  /* ss */
  const SymmetricState::Key timestamp_key = state.MixKey({products.ss.data(), products.ss.size()});
  /* {t} */
  state.EncryptAndHash(timestamp_key, initiator.timestamp, message.encrypted_timestamp.data());
  message.mac1 = crypto::MacOf(Mac1Key(responder), BytesBefore(message, message.mac1));
  return pending;
}

}  // namespace

std::optional<PendingHandshake> CreateInitiation(const Secret<kKeyBytes>& self,
                                                 const PublicKey& responder,
                                                 const Secret<kKeyBytes>& ephemeral_private,
                                                 uint32_t sender_index, const Tai64n& timestamp) {
  Products products{
      crypto::DerivePublicKey(self), crypto::DerivePublicKey(ephemeral_private), {}, {}};
  if (!crypto::X25519(ephemeral_private, responder.bytes.data(), &products.es) ||
      !crypto::X25519(self, responder.bytes.data(), &products.ss)) {
    return std::nullopt;
  }
  return Assemble({&self, &ephemeral_private, sender_index, timestamp}, responder, products);
}

bool CreateInitiations(crypto::X25519Backend backend, const PublicKey& responder,
                       std::span<const Initiator> initiators, std::span<PendingHandshake> made) {
  constexpr size_t kTogether = 16, kEach = 4;
  constexpr uint8_t kBasePoint[kKeyBytes] = {9};
  std::array<const Secret<kKeyBytes>*, kTogether * kEach> scalars;
  std::array<const uint8_t*, kTogether * kEach> points;
  std::array<Secret<kKeyBytes>, kTogether * kEach> products;
  std::array<bool, kTogether * kEach> is_secret;
  for (size_t begin = 0; begin < initiators.size(); begin += kTogether) {
    const size_t n = std::min(kTogether, initiators.size() - begin);
    for (size_t i = 0; i < n; ++i) {
      const Initiator& initiator = initiators[begin + i];
      for (size_t k = 0; k < kEach; ++k) {
        scalars[kEach * i + k] = k < 2 ? initiator.self : initiator.ephemeral_private;
        points[kEach * i + k] = k % 2 == 0 ? kBasePoint : responder.bytes.data();
      }
    }
    const auto used = [n](auto& of) { return std::span(of).first(kEach * n); };
    crypto::X25519BatchEach(backend, used(scalars), used(points), used(products), used(is_secret));
    for (size_t i = 0; i < n; ++i) {
      const Secret<kKeyBytes>* product = &products[kEach * i];
      if (!is_secret[kEach * i + 1] || !is_secret[kEach * i + 3]) return false;
      Products of;
      std::copy_n(product[0].data(), kKeyBytes, of.self.bytes.begin());
      std::copy_n(product[2].data(), kKeyBytes, of.ephemeral.bytes.begin());
      of.es = product[3].Clone();
      of.ss = product[1].Clone();
      made[begin + i] = Assemble(initiators[begin + i], responder, of);
    }
  }
  return true;
}

std::optional<TransportKeys> OpenResponse(const Secret<kKeyBytes>& self,
                                          const Secret<kKeyBytes>& preshared_key,
                                          const PendingHandshake& pending,
                                          const wire::Response& response) {
  const crypto::Mac mac1 =
      crypto::MacOf(Mac1Key(crypto::DerivePublicKey(self)), BytesBefore(response, response.mac1));
  if (!crypto::Equal(mac1.data(), response.mac1.data(), mac1.size()) ||
      response.receiver_index != pending.message.sender_index) {
    return std::nullopt;
  }
  SymmetricState state = pending.state.Clone();
  Secret<kKeyBytes> shared;
  /* e */
  state.MixHash(response.ephemeral);
  state.MixChainingKey(response.ephemeral);
  /* ee */
  if (!crypto::X25519(pending.ephemeral_private, response.ephemeral.data(), &shared)) {
    return std::nullopt;
  }
  state.MixChainingKey({shared.data(), shared.size()});
  /* se */
  if (!crypto::X25519(self, response.ephemeral.data(), &shared)) return std::nullopt;
  state.MixChainingKey({shared.data(), shared.size()});
  /* psk */
  const SymmetricState::Key key = state.MixKeyAndHash({preshared_key.data(), preshared_key.size()});
  /* {} */
  uint8_t nothing;
  if (!state.DecryptAndHash(key, response.encrypted_nothing, &nothing)) return std::nullopt;
  TransportKeys keys;
  state.Split(&keys.send, &keys.receive);
  return keys;
}

}  // namespace wicket::noise
