// IP addresses, the prefixes that a peer may use, and the endpoints it sends from.
//
// One type serves both versions of IP: 16 bytes, of which IPv4 uses the first 4.
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include "absl/strings/string_view.h"

namespace wicket {

enum class Family : uint8_t { kNone = 0, kIpv4 = 4, kIpv6 = 6 };

// An address: network byte order, bytes past the family's length zero.
struct Address {
  Family family = Family::kNone;
  std::array<uint8_t, 16> bytes{};

  size_t size() const { return family == Family::kIpv4 ? 4 : family == Family::kIpv6 ? 16 : 0; }
  uint8_t bits() const { return static_cast<uint8_t>(8 * size()); }
  // The IPv6 form of the address; IPv4 becomes ::ffff:a.b.c.d. Source: [RFC 4291 2.5.5.2]
  std::array<uint8_t, 16> Mapped() const;
  // The IPv4 address that an IPv6 address of that form stands for; others as they are.
  Address Unmapped() const;
  friend auto operator<=>(const Address&, const Address&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const Address& address) {
    return H::combine(std::move(state), address.family, address.bytes);
  }
};

// An allowed-ips entry. `length` is 0..32 or 0..128 and the host bits are zero.
struct Prefix {
  Address address;
  uint8_t length = 0;

  friend auto operator<=>(const Prefix&, const Prefix&) = default;
};

// The source of a peer's packets. `port` is in host byte order; scope_id is the interface index
// of a link-local IPv6 address, otherwise 0.
struct Endpoint {
  Address address;
  uint16_t port = 0;
  uint32_t scope_id = 0;

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

// The prefix of `length` bits that contains `address`. Requires: length <= address.bits().
Prefix PrefixOf(const Address& address, uint8_t length);
bool Contains(const Prefix& outer, const Address& address);
bool Contains(const Prefix& outer, const Prefix& inner);

std::string ToString(const Address& address);
std::string ToString(const Prefix& prefix);      // "10.0.0.0/8"
std::string ToString(const Endpoint& endpoint);  // "10.0.0.1:51820", "[fe80::1]:51820"

std::optional<Address> ParseAddress(absl::string_view text);
// Accepts "10.1.2.3" and "10.1.2.3/8"; the host bits are cleared, as `wg` does.
std::optional<Prefix> ParsePrefix(absl::string_view text);
// Accepts what ToString() gives, but for port 0. The scope is a number: "[fe80::1%2]:51820".
std::optional<Endpoint> ParseEndpoint(absl::string_view text);

// Fills `storage`. Returns: the length of the address in it, 16 or 28.
socklen_t ToSockaddr(const Endpoint& endpoint, sockaddr_storage* storage);
// Returns: nullopt for other families and short lengths.
std::optional<Endpoint> FromSockaddr(const void* data, size_t bytes);

}  // namespace wicket
