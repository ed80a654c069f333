#include "noise/cookie.h"

#include "crypto/aead.h"
#include "crypto/curve25519.h"

namespace wicket::noise {

wire::CookieReply SealCookie(const crypto::Hash& cookie_key, const Cookie& cookie,
                             const crypto::Mac& mac1,
                             const std::array<uint8_t, 4>& receiver_index) {
  wire::CookieReply reply;
  reply.type = {3, 0, 0, 0};
  reply.receiver_index = receiver_index;
  crypto::FillRandom(reply.nonce.data(), reply.nonce.size());
  crypto::SealX(cookie_key.data(), reply.nonce.data(), cookie, mac1, reply.encrypted_cookie.data());
  return reply;
}

std::optional<Cookie> OpenCookie(const crypto::Hash& cookie_key, const crypto::Mac& mac1,
                                 const wire::CookieReply& reply) {
  Cookie cookie;
  if (!crypto::OpenX(cookie_key.data(), reply.nonce.data(), reply.encrypted_cookie, mac1,
                     cookie.data())) {
    return std::nullopt;
  }
  return cookie;
}

crypto::Mac Mac2(const Cookie& cookie, const wire::Initiation& message) {
  return crypto::MacOf(cookie, wire::BytesBefore(message, message.mac2));
}

}  // namespace wicket::noise
