#include "noise/responder.h"

namespace wicket::noise {
bool CheckMac1(const Identity& self, const wire::Initiation& message) {
  const crypto::Mac mac = crypto::MacOf(self.mac1_key(), BytesBefore(message, message.mac1));
  return crypto::Equal(mac.data(), message.mac1.data(), mac.size());
}

std::optional<Claim> OpenStatic(const Identity& self, const wire::Initiation& message) {
  Claim claim{{}, self.initial().Clone()};
  SymmetricState& state = claim.state;
  /* e */
  state.MixHash(message.ephemeral);
  state.MixChainingKey(message.ephemeral);
  /* es */
  Secret<kKeyBytes> shared;
  if (!crypto::X25519(self.private_key(), message.ephemeral.data(), &shared)) return std::nullopt;
  const SymmetricState::Key key = state.MixKey({shared.data(), shared.size()});
  /* s */
  if (!state.DecryptAndHash(key, message.encrypted_static, claim.static_public.bytes.data())) {
    return std::nullopt;
  }
  return claim;
}

std::optional<Tai64n> OpenTimestamp(const Identity& self, Claim claim,
                                    const wire::Initiation& message) {
  SymmetricState& state = claim.state;
  /* ss */
  Secret<kKeyBytes> shared;
  if (!crypto::X25519(self.private_key(), claim.static_public.bytes.data(), &shared)) {
    return std::nullopt;
  }
  const SymmetricState::Key key = state.MixKey({shared.data(), shared.size()});
  /* {t} */
  Tai64n stamp;
  if (!state.DecryptAndHash(key, message.encrypted_timestamp, stamp.data())) return std::nullopt;
  return stamp;
}

}  // namespace wicket::noise
