// Cookies: the proof of address that a responder under load asks for before any Diffie-Hellman.
#pragma once

#include <optional>

#include "absl/time/time.h"
#include "base/key.h"
#include "crypto/blake2s.h"
#include "wire/messages.h"

namespace wicket::noise {

using Cookie = crypto::Mac;

// The lifetime of a cookie at the client, and of a secret that makes cookies. [WG 6.1, 5.4.7]
inline constexpr absl::Duration kCookieAge = absl::Seconds(120);

// The two secrets behind a responder's cookies. The newest makes them; the older is still accepted.
//
// Thread: any; immutable. Secrets: both.
class CookieSecrets {
 public:
  CookieSecrets(const Secret<32>& newest, const Secret<32>& before)
      : newest_(newest.Clone()), before_(before.Clone()) {}

  const Secret<32>& newest() const { return newest_; }
  Cookie Make(const Endpoint& source) const;
  // Returns: whether the message's mac2 was made with a cookie for `source`.
  // Cost:    none for an all-zero mac2, which is how a client says that it has no cookie.
  bool Accept(const Endpoint& source, const wire::Initiation& message) const;

 private:
  Secret<32> newest_, before_;
};

// Makes a reply to the initiation that carried `mac1`; it verifies with no other. An observer
// can read the cookie, since `cookie_key` is made from a public key.
// Source: [WG 5.4.7]
wire::CookieReply SealCookie(const crypto::Hash& cookie_key, const Cookie& cookie,
                             const crypto::Mac& mac1, const std::array<uint8_t, 4>& receiver_index);

// Returns: nullopt when the reply does not answer an initiation with `mac1`. Its type and
//          receiver_index are for the caller to check.
[[nodiscard]] std::optional<Cookie> OpenCookie(const crypto::Hash& cookie_key,
                                               const crypto::Mac& mac1,
                                               const wire::CookieReply& reply);

// mac2 of `message`, over all bytes before the field. Source: [WG 5.4.4]
crypto::Mac Mac2(const Cookie& cookie, const wire::Initiation& message);

}  // namespace wicket::noise
