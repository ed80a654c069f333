// A client's session with the target: the packets inside the tunnel.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "base/address.h"
#include "noise/initiator.h"

namespace wicket::blast {

// Thread: one.
class Session {
 public:
  static constexpr size_t kPacketBytesMax = 128;

  // `receiver`: the index by which the target knows it. `born_ns`: NowNanos() of the response.
  Session(uint64_t client, const std::array<uint8_t, 4>& receiver, uint64_t born_ns,
          noise::TransportKeys keys);

  uint64_t client() const { return client_; }
  uint64_t born_ns() const { return born_ns_; }
  // The next packet, with nothing in it. Returns: bytes at `out`. Source: [WG 5.4.6]
  size_t SealKeepalive(uint8_t* out);
  // The next packet, with an ICMPv6 echo request in it. Source: [RFC 4443 4.1]
  size_t SealPing(const Address& from, const Address& to, uint8_t* out);
  // Whether `packet` verifies, and is the answer to a ping.
  bool OpensPong(std::span<const uint8_t> packet) const;

 private:
  size_t Seal(std::span<const uint8_t> plaintext, uint8_t* out);

  uint64_t client_;
  std::array<uint8_t, 4> receiver_;
  uint64_t born_ns_;
  noise::TransportKeys keys_;
  uint64_t counter_ = 0;
};

}  // namespace wicket::blast
