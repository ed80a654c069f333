// UDP datagrams in Ethernet frames: headers are written for sending and read on receipt.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/address.h"

namespace wicket::blast {

using Mac = std::array<uint8_t, 6>;

// The MAC addresses of a frame, and its VLAN.
struct Link {
  Mac source{2, 0, 0, 0, 0, 2};  // the defaults are made up, for captures
  Mac destination{2, 0, 0, 0, 0, 1};
  std::optional<uint16_t> vlan;
};

inline constexpr size_t kHeaderBytesMax = 14 + 4 + 40 + 8;

// Writes headers and payload to `out`, with correct checksums.
//
// Requires: room for kHeaderBytesMax + payload.size() bytes at `out`; addresses of one family.
// Returns:  bytes written.
size_t WriteFrame(const Link& link, const Endpoint& from, const Endpoint& to,
                  std::span<const uint8_t> payload, uint8_t* out);

// A UDP datagram in a frame. `payload` points into the frame.
struct Datagram {
  Endpoint from, to;
  std::span<const uint8_t> payload;
};

// Does not verify checksums.
// Returns: nullopt unless the frame holds a whole UDP datagram, unfragmented, over IPv4, or over
//          IPv6 without extension headers, behind at most one 802.1Q tag.
std::optional<Datagram> ReadFrame(std::span<const uint8_t> frame);

}  // namespace wicket::blast
