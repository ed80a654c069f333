#include "tools/blast/session.h"

#include <string.h>

#include "crypto/aead.h"

namespace wicket::blast {
namespace {

constexpr size_t kHeaderBytes = 16, kIpv6Bytes = 40, kEchoBytes = 16, kPadding = 16;
constexpr uint8_t kIcmpv6 = 58, kEchoRequest = 128, kEchoReply = 129;

}  // namespace

Session::Session(uint64_t client, const std::array<uint8_t, 4>& receiver, uint64_t born_ns,
                 noise::TransportKeys keys)
    : client_(client), receiver_(receiver), born_ns_(born_ns), keys_(std::move(keys)) {}

size_t Session::Seal(std::span<const uint8_t> plaintext, uint8_t* out) {
  constexpr std::array<uint8_t, 4> kType{4, 0, 0, 0};
  memcpy(out, kType.data(), 4);
  memcpy(out + 4, receiver_.data(), 4);
  for (size_t i = 0; i < 8; ++i) out[8 + i] = static_cast<uint8_t>(counter_ >> 8 * i);
  crypto::Seal(keys_.send.data(), counter_++, plaintext, {}, out + kHeaderBytes);
  return kHeaderBytes + plaintext.size() + crypto::kTagBytes;
}

size_t Session::SealKeepalive(uint8_t* out) { return Seal({}, out); }

size_t Session::SealPing(const Address& from, const Address& to, uint8_t* out) {
  std::array<uint8_t, (kIpv6Bytes + kEchoBytes + kPadding - 1) / kPadding * kPadding> packet{};
  packet[0] = 0x60;
  packet[5] = kEchoBytes;
  packet[6] = kIcmpv6;
  packet[7] = 64;
  memcpy(&packet[8], from.bytes.data(), 16);
  memcpy(&packet[24], to.bytes.data(), 16);
  uint8_t* echo = &packet[kIpv6Bytes];
  echo[0] = kEchoRequest;
  uint32_t sum = kEchoBytes + kIcmpv6;
  for (size_t i = 8; i < kIpv6Bytes + kEchoBytes; i += 2) {
    sum += static_cast<uint32_t>(packet[i]) << 8 | packet[i + 1];
  }
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  echo[2] = static_cast<uint8_t>(~sum >> 8);
  echo[3] = static_cast<uint8_t>(~sum);
  return Seal(packet, out);
}

bool Session::OpensPong(std::span<const uint8_t> packet) const {
  std::array<uint8_t, kPacketBytesMax> plaintext;
  if (packet.size() < kHeaderBytes + kIpv6Bytes + kEchoBytes + crypto::kTagBytes ||
      packet.size() > plaintext.size()) {
    return false;
  }
  uint64_t counter = 0;
  for (size_t i = 0; i < 8; ++i) counter |= uint64_t{packet[8 + i]} << 8 * i;
  return crypto::Open(keys_.receive.data(), counter, packet.subspan(kHeaderBytes), {},
                      plaintext.data()) &&
         plaintext[6] == kIcmpv6 && plaintext[kIpv6Bytes] == kEchoReply;
}

size_t Sessions::Keep(Session session) {
  const auto [at, first] = number_of_.try_emplace(session.client(), sessions_.size());
  if (first) {
    sessions_.push_back(std::move(session));
  } else {
    sessions_[at->second] = std::move(session);
  }
  return at->second;
}

}  // namespace wicket::blast
