#include "intake/cookie_reply.h"

#include <string.h>

#include <algorithm>

namespace wicket::intake {
namespace {

constexpr size_t kMacBytes = 6, kIpv4Bytes = 20, kIpv6Bytes = 40, kUdpBytes = 8;
constexpr uint8_t kUdp = 17, kHopLimit = 64;

void Put16(uint8_t* at, size_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
}

// The ones' complement sum of [RFC 1071]. Requires: an even number of bytes.
uint16_t Checksum(const uint8_t* bytes, size_t size, uint32_t sum) {
  for (size_t i = 0; i < size; i += 2) sum += static_cast<uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

}  // namespace

uint32_t WriteCookieReply(std::span<uint8_t> frame, const wire::Frame& found,
                          const wire::CookieReply& reply) {
  const bool ipv4 = found.source.address.family == Family::kIpv4;
  constexpr size_t kUdpTotal = kUdpBytes + sizeof(reply);
  uint8_t* const ip = frame.data() + found.ip_offset;
  const size_t addresses = ipv4 ? 12 : 8, address_bytes = ipv4 ? 4 : 16;
  // Options and extension headers are not echoed, so the IP header is rebuilt.
  std::swap_ranges(frame.data(), frame.data() + kMacBytes, frame.data() + kMacBytes);
  std::swap_ranges(ip + addresses, ip + addresses + address_bytes, ip + addresses + address_bytes);
  if (ipv4) {
    memset(ip, 0, addresses);
    ip[0] = 0x45;
    Put16(ip + 2, kIpv4Bytes + kUdpTotal);
    Put16(ip + 6, 0x4000);  // do not fragment
    ip[8] = kHopLimit;
    ip[9] = kUdp;
    Put16(ip + 10, Checksum(ip, kIpv4Bytes, 0));
  } else {
    memset(ip, 0, addresses);
    ip[0] = 0x60;
    Put16(ip + 4, kUdpTotal);
    ip[6] = kUdp;
    ip[7] = kHopLimit;
  }
  uint8_t* const udp = ip + (ipv4 ? kIpv4Bytes : kIpv6Bytes);
  Put16(udp, found.port);
  Put16(udp + 2, found.source.port);
  Put16(udp + 4, kUdpTotal);
  Put16(udp + 6, 0);
  memcpy(udp + kUdpBytes, &reply, sizeof(reply));
  const uint16_t checksum =
      Checksum(ip + addresses, 2 * address_bytes + kUdpTotal, kUdp + kUdpTotal);
  Put16(udp + 6, checksum == 0 ? 0xffff : checksum);
  return static_cast<uint32_t>(udp + kUdpTotal - frame.data());
}

}  // namespace wicket::intake
