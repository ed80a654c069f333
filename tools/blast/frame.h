// A message in an Ethernet frame: around what we send, and out of what we receive.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/address.h"

namespace wicket::blast {

using Mac = std::array<uint8_t, 6>;

// The stations a frame goes between, and the VLAN it is in.
struct Link {
  Mac source{2, 0, 0, 0, 0, 2};  // made up, for captures
  Mac destination{2, 0, 0, 0, 0, 1};
  std::optional<uint16_t> vlan;
};

inline constexpr size_t kHeaderBytesMax = 14 + 4 + 40 + 8;

// Writes headers and payload to `out`, with right checksums.
// Returns: bytes. Requires: room for kHeaderBytesMax + payload.size().
size_t WriteFrame(const Link& link, const Endpoint& from, const Endpoint& to,
                  std::span<const uint8_t> payload, uint8_t* out);

// A UDP datagram in a frame, which it points into.
struct Datagram {
  Endpoint from, to;
  std::span<const uint8_t> payload;
};

// Returns: nullopt for all but whole UDP over IPv4 or IPv6 without extension headers.
std::optional<Datagram> ReadFrame(std::span<const uint8_t> frame);

}  // namespace wicket::blast
