#include "tools/blast/frame.h"

#include <string.h>

namespace wicket::blast {
namespace {

constexpr uint8_t kUdp = 17, kHopLimit = 64;
constexpr size_t kEthernetBytes = 14, kVlanBytes = 4, kIpv4Bytes = 20, kIpv6Bytes = 40,
                 kUdpBytes = 8;
constexpr uint16_t kTypeIpv4 = 0x0800, kTypeIpv6 = 0x86dd, kTypeVlan = 0x8100;

uint8_t* Put16(uint8_t* at, size_t value) {
  at[0] = static_cast<uint8_t>(value >> 8);
  at[1] = static_cast<uint8_t>(value);
  return at + 2;
}

uint8_t* Put(uint8_t* at, std::span<const uint8_t> bytes) {
  memcpy(at, bytes.data(), bytes.size());
  return at + bytes.size();
}

uint16_t Get16(const uint8_t* at) { return static_cast<uint16_t>(at[0] << 8 | at[1]); }

// The ones' complement sum of [RFC 1071], in network order, not yet folded.
uint64_t Sum(const uint8_t* bytes, size_t size, uint64_t sum) {
  for (; size >= 4; bytes += 4, size -= 4) {
    uint32_t word;
    memcpy(&word, bytes, 4);
    sum += __builtin_bswap32(word);
  }
  if (size >= 2) {
    sum += uint64_t{Get16(bytes)} << 16;
    bytes += 2;
    size -= 2;
  }
  return size == 0 ? sum : sum + (uint64_t{*bytes} << 24);
}

uint16_t Checksum(uint64_t sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

}  // namespace

size_t WriteFrame(const Link& link, const Endpoint& from, const Endpoint& to,
                  std::span<const uint8_t> payload, uint8_t* out) {
  const bool ipv4 = to.address.family == Family::kIpv4;
  const size_t address_bytes = to.address.size(), udp_bytes = kUdpBytes + payload.size();
  uint8_t* at = Put(Put(out, link.destination), link.source);
  if (link.vlan) at = Put16(Put16(at, kTypeVlan), *link.vlan);
  at = Put16(at, ipv4 ? kTypeIpv4 : kTypeIpv6);
  uint8_t* const ip = at;
  if (ipv4) {
    at = Put16(Put16(Put16(at, 0x4500), kIpv4Bytes + udp_bytes), 0);
    at = Put16(Put16(Put16(at, 0x4000), kHopLimit << 8 | kUdp), 0);
  } else {
    at = Put16(Put16(Put16(Put16(at, 0x6000), 0), udp_bytes), kUdp << 8 | kHopLimit);
  }
  at = Put(at, {from.address.bytes.data(), address_bytes});
  at = Put(at, {to.address.bytes.data(), address_bytes});
  if (ipv4) Put16(ip + 10, Checksum(Sum(ip, kIpv4Bytes, 0)));
  uint8_t* const udp = at;
  at = Put(Put16(Put16(Put16(Put16(at, from.port), to.port), udp_bytes), 0), payload);
  const uint16_t checksum =
      Checksum(Sum(udp - 2 * address_bytes, 2 * address_bytes + udp_bytes, kUdp + udp_bytes));
  Put16(udp + 6, checksum == 0 ? 0xffff : checksum);
  return static_cast<size_t>(at - out);
}

std::optional<Datagram> ReadFrame(std::span<const uint8_t> frame) {
  size_t ip = kEthernetBytes;
  if (frame.size() < ip + kVlanBytes) return std::nullopt;
  uint16_t type = Get16(&frame[12]);
  if (type == kTypeVlan) {
    type = Get16(&frame[16]);
    ip += kVlanBytes;
  }
  const bool ipv4 = type == kTypeIpv4;
  const size_t fixed = ipv4 ? kIpv4Bytes : kIpv6Bytes;
  if ((!ipv4 && type != kTypeIpv6) || frame.size() < ip + fixed) return std::nullopt;
  const size_t header = ipv4 ? (frame[ip] & 15) * 4u : kIpv6Bytes;
  const size_t udp = ip + header;
  if (frame[ip + (ipv4 ? 9 : 6)] != kUdp || header < fixed || frame.size() < udp + kUdpBytes ||
      (ipv4 && (Get16(&frame[ip + 6]) & 0x3fff) != 0)) {
    return std::nullopt;
  }
  const size_t bytes = Get16(&frame[udp + 4]);
  if (bytes < kUdpBytes || udp + bytes > frame.size()) return std::nullopt;
  Datagram datagram;
  const Family family = ipv4 ? Family::kIpv4 : Family::kIpv6;
  datagram.from.address.family = datagram.to.address.family = family;
  const size_t address_bytes = datagram.from.address.size(), at = ip + (ipv4 ? 12 : 8);
  memcpy(datagram.from.address.bytes.data(), &frame[at], address_bytes);
  memcpy(datagram.to.address.bytes.data(), &frame[at + address_bytes], address_bytes);
  datagram.from.port = Get16(&frame[udp]);
  datagram.to.port = Get16(&frame[udp + 2]);
  datagram.payload = frame.subspan(udp + kUdpBytes, bytes - kUdpBytes);
  return datagram;
}

}  // namespace wicket::blast
