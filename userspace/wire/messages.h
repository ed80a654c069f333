// The messages of the WireGuard protocol, in the layout of the UDP payload.
//
// Every field is an array of bytes, so a message can be read in place at any alignment. Integers
// are little-endian.
// Source: [WG 5.4]
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "base/address.h"

namespace wicket::wire {

enum class MessageType : uint8_t { kInitiation = 1, kResponse = 2, kCookieReply = 3, kData = 4 };

struct Initiation {
  std::array<uint8_t, 4> type;  // 1, 0, 0, 0
  std::array<uint8_t, 4> sender_index;
  std::array<uint8_t, 32> ephemeral;
  std::array<uint8_t, 32 + 16> encrypted_static;
  std::array<uint8_t, 12 + 16> encrypted_timestamp;
  std::array<uint8_t, 16> mac1;
  std::array<uint8_t, 16> mac2;
};
static_assert(sizeof(Initiation) == 148 && alignof(Initiation) == 1);

struct Response {
  std::array<uint8_t, 4> type;  // 2, 0, 0, 0
  std::array<uint8_t, 4> sender_index;
  std::array<uint8_t, 4> receiver_index;
  std::array<uint8_t, 32> ephemeral;
  std::array<uint8_t, 16> encrypted_nothing;
  std::array<uint8_t, 16> mac1;
  std::array<uint8_t, 16> mac2;
};
static_assert(sizeof(Response) == 92 && alignof(Response) == 1);

struct CookieReply {
  std::array<uint8_t, 4> type;            // 3, 0, 0, 0
  std::array<uint8_t, 4> receiver_index;  // the initiation's sender_index
  std::array<uint8_t, 24> nonce;
  std::array<uint8_t, 16 + 16> encrypted_cookie;
};
static_assert(sizeof(CookieReply) == 64 && alignof(CookieReply) == 1);

inline constexpr size_t kDataBytesMin = 32;

// The bytes of `message` before `field`: the input of mac1 or mac2.
template <typename Message>
std::span<const uint8_t> BytesBefore(const Message& message, const std::array<uint8_t, 16>& field) {
  const auto* begin = reinterpret_cast<const uint8_t*>(&message);
  return {begin, static_cast<size_t>(field.data() - begin)};
}

// An initiation found in an Ethernet frame.
struct Frame {
  const Initiation* initiation = nullptr;  // points into the frame
  Endpoint source;               // without the scope of a link-local address
  uint16_t port = 0;             // the destination's, in host byte order
  bool can_be_answered = false;  // the source address and port can be those of a host
  uint16_t ip_offset = 0;
  uint16_t udp_offset = 0;
};

// Finds the initiation in an Ethernet frame, by the rules of the XDP program.
// Returns: false when the program would have passed or dropped the frame.
// Source:  xdp/classify.h, the code of the program.
[[nodiscard]] bool ParseFrame(std::span<const uint8_t> bytes, Frame* frame);

}  // namespace wicket::wire
