// The cookies that clients hold.
#pragma once

#include <cstdint>
#include <optional>

#include "absl/container/flat_hash_map.h"
#include "noise/cookie.h"
#include "noise/identity.h"
#include "tools/blast/packets.h"

namespace wicket::blast {

// A client uses the last cookie that it got in its next handshakes. No I/O: the time is an
// argument, CLOCK_MONOTONIC in ns. Thread: one.
class HeldCookies {
 public:
  // `target`: the endpoint that sends the cookies.
  explicit HeldCookies(const PublicKey& target) : key_(noise::CookieKey(target)) {}

  // Opens the cookie reply to `packet`, and keeps the cookie for the packet's client.
  // Returns: false when the reply does not verify.
  [[nodiscard]] bool Take(const Packet& packet, const wire::CookieReply& reply, uint64_t now_ns) {
    const auto cookie = noise::OpenCookie(key_, packet.handshake.message.mac1, reply);
    if (cookie) cookies_[packet.client] = {*cookie, now_ns + kAge_ns};
    return cookie.has_value();
  }

  // Writes mac2 into the packet's initiation when its client holds a cookie.
  void AddMac2(uint64_t now_ns, Packet* packet) const {
    const auto held = cookies_.find(packet->client);
    if (held == cookies_.end() || now_ns >= held->second.until_ns) return;
    wire::Initiation& message = packet->handshake.message;
    message.mac2 = noise::Mac2(held->second.cookie, message);
  }

 private:
  static constexpr uint64_t kAge_ns = 120'000'000'000;  // [WG 5.4.7]
  struct Held {
    noise::Cookie cookie;
    uint64_t until_ns;
  };

  const crypto::Hash key_;
  absl::flat_hash_map<uint64_t, Held> cookies_;  // by client
};

}  // namespace wicket::blast
