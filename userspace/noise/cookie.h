// Cookies: what a responder under load asks for before it computes anything else.
#pragma once

#include <optional>

#include "base/key.h"
#include "crypto/blake2s.h"
#include "wire/messages.h"

namespace wicket::noise {

using Cookie = crypto::Mac;

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
