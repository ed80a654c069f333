#include "base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include <algorithm>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace wicket {
namespace {

void ClearHostBits(Prefix* prefix) {
  for (size_t bit = prefix->length; bit < prefix->address.size() * 8; ++bit) {
    prefix->address.bytes[bit / 8] &= static_cast<uint8_t>(~(0x80u >> (bit % 8)));
  }
}

}  // namespace

Address Address::Unmapped() const {
  Address ipv4{Family::kIpv4, {}};
  std::copy(bytes.begin() + 12, bytes.end(), ipv4.bytes.begin());
  return family == Family::kIpv6 && ipv4.Mapped() == bytes ? ipv4 : *this;
}

std::array<uint8_t, 16> Address::Mapped() const {
  if (family != Family::kIpv4) return bytes;
  std::array<uint8_t, 16> mapped{};
  mapped[10] = mapped[11] = 0xff;
  std::copy_n(bytes.begin(), 4, mapped.begin() + 12);
  return mapped;
}

Prefix PrefixOf(const Address& address, uint8_t length) {
  Prefix prefix{address, length};
  ClearHostBits(&prefix);
  return prefix;
}

bool Contains(const Prefix& outer, const Address& address) {
  return outer.address.family == address.family && PrefixOf(address, outer.length) == outer;
}

bool Contains(const Prefix& outer, const Prefix& inner) {
  return outer.length <= inner.length && Contains(outer, inner.address);
}

std::string ToString(const Address& address) {
  char text[INET6_ADDRSTRLEN] = "(none)";
  if (address.family != Family::kNone) {
    inet_ntop(address.family == Family::kIpv4 ? AF_INET : AF_INET6, address.bytes.data(), text,
              sizeof(text));
  }
  return text;
}

std::string ToString(const Prefix& prefix) {
  return absl::StrCat(ToString(prefix.address), "/", static_cast<int>(prefix.length));
}

std::string ToString(const Endpoint& endpoint) {
  if (endpoint.address.family == Family::kNone) return "(none)";
  if (endpoint.address.family == Family::kIpv4) {
    return absl::StrCat(ToString(endpoint.address), ":", endpoint.port);
  }
  return absl::StrCat("[", ToString(endpoint.address),
                      endpoint.scope_id ? absl::StrCat("%", endpoint.scope_id) : "",
                      "]:", endpoint.port);
}

std::optional<Address> ParseAddress(absl::string_view text) {
  const std::string terminated(text);
  if (terminated.find('\0') != std::string::npos) return std::nullopt;
  Address address;
  if (inet_pton(AF_INET, terminated.c_str(), address.bytes.data()) == 1) {
    address.family = Family::kIpv4;
    return address;
  }
  if (inet_pton(AF_INET6, terminated.c_str(), address.bytes.data()) == 1) {
    address.family = Family::kIpv6;
    return address;
  }
  return std::nullopt;
}

std::optional<Prefix> ParsePrefix(absl::string_view text) {
  const size_t slash = text.find('/');
  std::optional<Address> address = ParseAddress(text.substr(0, slash));
  if (!address) return std::nullopt;
  Prefix prefix{*address, static_cast<uint8_t>(address->size() * 8)};
  if (slash != absl::string_view::npos) {
    const absl::string_view digits = text.substr(slash + 1);
    uint32_t length = 0;
    if (digits.empty() || digits.size() > 3 ||
        digits.find_first_not_of("0123456789") != absl::string_view::npos ||
        !absl::SimpleAtoi(digits, &length) || length > prefix.length) {
      return std::nullopt;
    }
    prefix.length = static_cast<uint8_t>(length);
  }
  ClearHostBits(&prefix);
  return prefix;
}

std::optional<Endpoint> ParseEndpoint(absl::string_view text) {
  const size_t colon = text.rfind(':');
  if (colon == absl::string_view::npos) return std::nullopt;
  absl::string_view host = text.substr(0, colon);
  const absl::string_view digits = text.substr(colon + 1);
  uint32_t port = 0;
  if (digits.empty() || digits.find_first_not_of("0123456789") != absl::string_view::npos ||
      !absl::SimpleAtoi(digits, &port) || port == 0 || port > 65535) {
    return std::nullopt;
  }
  Endpoint endpoint;
  endpoint.port = static_cast<uint16_t>(port);
  const bool bracketed = host.size() >= 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) {
    host = host.substr(1, host.size() - 2);
    const size_t percent = host.find('%');
    if (percent != absl::string_view::npos) {
      const absl::string_view scope = host.substr(percent + 1);
      if (!absl::SimpleAtoi(scope, &endpoint.scope_id)) {
        return std::nullopt;
      }
      host = host.substr(0, percent);
    }
  }
  std::optional<Address> address = ParseAddress(host);
  if (!address || (address->family == Family::kIpv6) != bracketed) return std::nullopt;
  endpoint.address = *address;
  return endpoint;
}

socklen_t ToSockaddr(const Endpoint& endpoint, sockaddr_storage* storage) {
  memset(storage, 0, sizeof(*storage));
  if (endpoint.address.family == Family::kIpv4) {
    auto* in = reinterpret_cast<sockaddr_in*>(storage);
    in->sin_family = AF_INET;
    in->sin_port = htons(endpoint.port);
    memcpy(&in->sin_addr, endpoint.address.bytes.data(), 4);
    return sizeof(*in);
  }
  auto* in6 = reinterpret_cast<sockaddr_in6*>(storage);
  in6->sin6_family = AF_INET6;
  in6->sin6_port = htons(endpoint.port);
  in6->sin6_scope_id = endpoint.scope_id;
  memcpy(&in6->sin6_addr, endpoint.address.bytes.data(), 16);
  return sizeof(*in6);
}

std::optional<Endpoint> FromSockaddr(const void* data, size_t bytes) {
  sa_family_t family;
  if (bytes < sizeof(family)) return std::nullopt;
  memcpy(&family, data, sizeof(family));
  Endpoint endpoint;
  if (family == AF_INET && bytes >= sizeof(sockaddr_in)) {
    sockaddr_in in;
    memcpy(&in, data, sizeof(in));
    endpoint.address.family = Family::kIpv4;
    memcpy(endpoint.address.bytes.data(), &in.sin_addr, 4);
    endpoint.port = ntohs(in.sin_port);
    return endpoint;
  }
  if (family == AF_INET6 && bytes >= sizeof(sockaddr_in6)) {
    sockaddr_in6 in6;
    memcpy(&in6, data, sizeof(in6));
    endpoint.address.family = Family::kIpv6;
    memcpy(endpoint.address.bytes.data(), &in6.sin6_addr, 16);
    endpoint.port = ntohs(in6.sin6_port);
    endpoint.scope_id = in6.sin6_scope_id;
    return endpoint;
  }
  return std::nullopt;
}

}  // namespace wicket
