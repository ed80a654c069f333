#include "noise/initiator.h"

#include <string.h>

namespace wicket::noise {

std::optional<PendingHandshake> CreateInitiation(const Secret<kKeyBytes>& self,
                                                 const PublicKey& responder,
                                                 const Secret<kKeyBytes>& ephemeral_private,
                                                 uint32_t sender_index, const Tai64n& timestamp) {
  PendingHandshake pending{{}, ephemeral_private.Clone(), InitialState(responder)};
  wire::Initiation& message = pending.message;
  SymmetricState& state = pending.state;
  Secret<kKeyBytes> shared;
  message.type = {1, 0, 0, 0};
  memcpy(message.sender_index.data(), &sender_index, sizeof(sender_index));
  /* e */
  message.ephemeral = crypto::DerivePublicKey(ephemeral_private).bytes;
  state.MixHash(message.ephemeral);
  state.MixChainingKey(message.ephemeral);
  /* es */
  if (!crypto::X25519(ephemeral_private, responder.bytes.data(), &shared)) return std::nullopt;
  const SymmetricState::Key static_key = state.MixKey({shared.data(), shared.size()});
  /* s */
  const PublicKey self_public = crypto::DerivePublicKey(self);
  state.EncryptAndHash(static_key, self_public.bytes, message.encrypted_static.data());
  /* ss */
  if (!crypto::X25519(self, responder.bytes.data(), &shared)) return std::nullopt;
  const SymmetricState::Key timestamp_key = state.MixKey({shared.data(), shared.size()});
  /* {t} */
  state.EncryptAndHash(timestamp_key, timestamp, message.encrypted_timestamp.data());
  message.mac1 = crypto::MacOf(Mac1Key(responder), BytesBefore(message, message.mac1));
  return pending;
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
