// The initiator's side of the handshake: makes initiations and opens responses.
#pragma once

#include <optional>
#include <span>

#include "base/tai64n.h"
#include "crypto/x25519_batch.h"
#include "noise/identity.h"
#include "wire/messages.h"

namespace wicket::noise {

// An initiation in flight, with the state that opens the response.
struct PendingHandshake {
  wire::Initiation message;
  Secret<kKeyBytes> ephemeral_private;
  SymmetricState state;
};

// Makes an initiation from `self` to `responder`, with mac1 and without mac2.
//
// Returns: nullopt when `responder` is a low-order point.
// Cost:    four X25519, two of them for the public keys; BM_CreateInitiation.
// Source:  [WG 5.4.2]
[[nodiscard]] std::optional<PendingHandshake> CreateInitiation(
    const Secret<kKeyBytes>& self, const PublicKey& responder,
    const Secret<kKeyBytes>& ephemeral_private, uint32_t sender_index, const Tai64n& timestamp);

// The input of one client's initiation.
struct Initiator {
  const Secret<kKeyBytes>* self;
  const Secret<kKeyBytes>* ephemeral_private;
  uint32_t sender_index;
  Tai64n timestamp;
};

// CreateInitiation() for many clients at once: made[i] belongs to initiators[i]. The four
// multiplications of each client share the lanes of X25519BatchEach().
//
// Requires: RunsHere(backend); spans of one size, any size.
// Returns:  false when `responder` is a low-order point; do not use `made` then.
// Cost:     BM_CreateInitiations.
[[nodiscard]] bool CreateInitiations(crypto::X25519Backend backend, const PublicKey& responder,
                                     std::span<const Initiator> initiators,
                                     std::span<PendingHandshake> made);

struct TransportKeys {
  SymmetricState::Key send;
  SymmetricState::Key receive;
};

// Verifies a response and derives the session's keys.
//
// Returns: nullopt when mac1, the tag or the receiver index is wrong, or the response's ephemeral
//          key is a low-order point. Its type is for the caller to check.
// Source:  [WG 5.4.3, 5.4.5]
[[nodiscard]] std::optional<TransportKeys> OpenResponse(const Secret<kKeyBytes>& self,
                                                        const Secret<kKeyBytes>& preshared_key,
                                                        const PendingHandshake& pending,
                                                        const wire::Response& response);

}  // namespace wicket::noise
