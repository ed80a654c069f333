// The responder's side of the handshake, up to the proof that the sender holds its key.
//
//   -> e, es, s, ss, {t}
//      `--- OpenStatic     the sender's claim: cheap to forge
//                `--- OpenTimestamp     the proof: needs the sender's private key
//
// Anyone who knows the responder's public key can make an initiation that claims any other.
// So nothing may be done for a sender before the tag of its timestamp verifies.
#pragma once

#include <optional>

#include "base/tai64n.h"
#include "noise/identity.h"
#include "wire/messages.h"

namespace wicket::noise {

// Returns: whether the message was made for the public key of `self`.
// Cost: three compressions; BM_CheckMac1.
[[nodiscard]] bool CheckMac1(const Identity& self, const wire::Initiation& message);

// A claimed static key, and the transcript up to it.
struct Claim {
  PublicKey static_public;
  SymmetricState state;
};

// Recovers the static public key that an initiation claims.
//
// Runs the responder's steps e, es and s, and stops there: the claim is enough to look the peer up,
// but not enough to trust it.
//
// Requires: CheckMac1(self, message); otherwise every UDP packet costs an X25519.
// Returns:  the claim, or nullopt when the tag does not verify or the shared
//           secret is all zero (low-order ephemeral key).
// Cost:     one X25519 and one AEAD of 32 bytes; BM_OpenStatic.
// Secrets:  intermediates are wiped before return; Claim wipes itself.
// Source:   [WG 5.4.2]
[[nodiscard]] std::optional<Claim> OpenStatic(const Identity& self,
                                              const wire::Initiation& message);

// Proves that the sender holds the private key of its claim, or not.
//
// Runs ss and t, and consumes the claim.
//
// Returns: the sender's timestamp, or nullopt when its tag does not verify or
//          the shared secret is all zero.
// Cost:    one X25519 and one AEAD of 12 bytes; BM_OpenTimestamp.
// Source:  [WG 5.4.2]
[[nodiscard]] std::optional<Tai64n> OpenTimestamp(const Identity& self, Claim claim,
                                                  const wire::Initiation& message);

}  // namespace wicket::noise
