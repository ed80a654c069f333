// Cookies: what a responder under load asks for before it computes anything else.
#pragma once

#include <optional>

#include "absl/time/time.h"
#include "base/key.h"
#include "crypto/blake2s.h"
#include "wire/messages.h"

namespace wicket::noise {

using Cookie = crypto::Mac;

// How long a client keeps a cookie, and so a secret makes them. [WG 6.1, 5.4.7]
inline constexpr absl::Duration kCookieAge = absl::Seconds(120);

// What a responder makes its cookies with: two secrets, of which the older is still accepted.
//
// Thread: any; it does not change. Secrets: both.
class CookieSecrets {
 public:
  CookieSecrets(const Secret<32>& newest, const Secret<32>& before)
      : newest_(newest.Clone()), before_(before.Clone()) {}

  const Secret<32>& newest() const { return newest_; }
  Cookie Make(const Endpoint& source) const;
  // Whether the message's mac2 was made with a cookie for that source. Costs nothing for who
  // has none and says so by zeros.
  bool Accept(const Endpoint& source, const wire::Initiation& message) const;

 private:
  Secret<32> newest_, before_;
};

// A reply to the initiation that carried `mac1`, for its sender alone to open.
// Source: [WG 5.4.7]
wire::CookieReply SealCookie(const crypto::Hash& cookie_key, const Cookie& cookie,
                             const crypto::Mac& mac1, const std::array<uint8_t, 4>& receiver_index);

// Returns: nullopt when it is no answer to an initiation with `mac1`.
[[nodiscard]] std::optional<Cookie> OpenCookie(const crypto::Hash& cookie_key,
                                               const crypto::Mac& mac1,
                                               const wire::CookieReply& reply);

// mac2, over all that comes before it. Source: [WG 5.4.4]
crypto::Mac Mac2(const Cookie& cookie, const wire::Initiation& message);

}  // namespace wicket::noise
