#include "noise/cookie.h"

#include <algorithm>

#include "crypto/aead.h"
#include "crypto/curve25519.h"

namespace wicket::noise {

namespace {

// The same cookie as the XDP program makes; see steer_secret in xdp/steer_abi.h.
Cookie CookieFor(const Secret<32>& secret, const Endpoint& source) {
  std::array<uint8_t, 18> input{};
  std::ranges::copy(source.address.Mapped(), input.begin());
  input[16] = static_cast<uint8_t>(source.port);
  input[17] = static_cast<uint8_t>(source.port >> 8);
  return crypto::MacOf({secret.data(), secret.size()}, input);
}

}  // namespace

Cookie CookieSecrets::Make(const Endpoint& source) const { return CookieFor(newest_, source); }

bool CookieSecrets::Accept(const Endpoint& source, const wire::Initiation& message) const {
  if (message.mac2 == crypto::Mac{}) return false;
  for (const Secret<32>* secret : {&newest_, &before_}) {
    const crypto::Mac wanted = Mac2(CookieFor(*secret, source), message);
    if (crypto::Equal(wanted.data(), message.mac2.data(), wanted.size())) return true;
  }
  return false;
}

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
