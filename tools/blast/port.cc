#include "tools/blast/port.h"

#include <algorithm>

namespace wicket::blast {
namespace {

uint64_t AddressesIn(const Prefix& prefix) {
  return uint64_t{1} << std::min(prefix.address.bits() - prefix.length, 40);
}

// In an IPv6 prefix shorter than a /64 the first addresses are each in a /64 of their own: rate
// limits count /64s, not addresses.
Address AddressAt(const Prefix& prefix, uint64_t offset) {
  Address address = prefix.address;
  const auto put = [&address](size_t end, uint64_t number) {
    for (size_t i = end; i-- > 0 && number > 0; number >>= 8) {
      address.bytes[i] |= static_cast<uint8_t>(number);
    }
  };
  if (address.family == Family::kIpv6 && prefix.length < 64) {
    const uint64_t subnets = uint64_t{1} << std::min(64 - prefix.length, 40);
    put(8, offset % subnets);
    offset /= subnets;
  }
  put(address.size(), offset);
  return address;
}

}  // namespace

uint64_t Sources::Count() const {
  uint64_t addresses = 0;
  for (const Prefix& prefix : from) addresses += AddressesIn(prefix);
  return addresses * (ports->second - ports->first + 1u);
}

Endpoint Sources::At(uint64_t number) const {
  uint64_t addresses = 0;
  for (const Prefix& prefix : from) addresses += AddressesIn(prefix);
  addresses = std::max<uint64_t>(addresses, 1);
  Endpoint source;
  uint64_t offset = number % addresses;
  for (const Prefix& prefix : from) {
    if (offset < AddressesIn(prefix)) {
      source.address = AddressAt(prefix, offset);
      break;
    }
    offset -= AddressesIn(prefix);
  }
  if (ports) {
    const uint64_t round = number / addresses;
    source.port = static_cast<uint16_t>(ports->first + round % (ports->second - ports->first + 1u));
  }
  return source;
}

}  // namespace wicket::blast
