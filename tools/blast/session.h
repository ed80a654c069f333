// The clients' sessions with the target: the packets inside the tunnels.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/address.h"
#include "noise/initiator.h"

namespace wicket::blast {

// One client's session. Thread: one.
class Session {
 public:
  static constexpr size_t kPacketBytesMax = 128;

  // `receiver`: the index by which the target knows the session.
  // `born_ns`: when the response arrived, CLOCK_MONOTONIC.
  Session(uint64_t client, const std::array<uint8_t, 4>& receiver, uint64_t born_ns,
          noise::TransportKeys keys);

  uint64_t client() const { return client_; }
  uint64_t born_ns() const { return born_ns_; }
  // The next packet, with nothing in it. Returns: bytes written to `out`, kPacketBytesMax at most.
  // Source: [WG 5.4.6]
  size_t SealKeepalive(uint8_t* out);
  // The next packet, with an ICMPv6 echo request in it. Returns: as SealKeepalive().
  // Source: [RFC 4443 4.1]
  size_t SealPing(const Address& from, const Address& to, uint8_t* out);
  // Whether `packet` verifies and holds an ICMPv6 echo reply.
  bool OpensPong(std::span<const uint8_t> packet) const;

 private:
  size_t Seal(std::span<const uint8_t> plaintext, uint8_t* out);

  uint64_t client_;
  std::array<uint8_t, 4> receiver_;
  uint64_t born_ns_;
  noise::TransportKeys keys_;
  uint64_t counter_ = 0;
};

// The newest session of each client. Thread: one. Lifetime: references, until the next Keep().
class Sessions {
 public:
  bool empty() const { return sessions_.empty(); }
  // Keeps a session in place of the client's last one.
  // Returns: its number, which is the same for all sessions of one client.
  size_t Keep(Session session);
  Session& operator[](size_t number) { return sessions_[number]; }
  // The client's session. Requires: it has one.
  Session& Of(uint64_t client) { return sessions_[number_of_.at(client)]; }
  // The sessions in rotation. Requires: !empty().
  const Session& InTurn(uint64_t turn) const { return sessions_[turn % sessions_.size()]; }

 private:
  std::vector<Session> sessions_;
  absl::flat_hash_map<uint64_t, size_t> number_of_;  // by client
};

}  // namespace wicket::blast
