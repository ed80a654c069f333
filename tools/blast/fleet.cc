#include "tools/blast/fleet.h"

#include <string.h>

#include "base/key.h"

namespace wicket::blast {

Fleet::Fleet(const std::string& seed, uint64_t size) : size_(size) {
  seed_ = crypto::HashOf({{reinterpret_cast<const uint8_t*>(seed.data()), seed.size()}});
}

Secret<kKeyBytes> Fleet::PrivateKey(uint64_t index) const {
  uint8_t number[8];
  for (size_t i = 0; i < sizeof(number); ++i) number[i] = static_cast<uint8_t>(index >> 8 * i);
  Secret<kKeyBytes> key;
  crypto::Blake2s(kKeyBytes, seed_).Update(number).Final(key.data());
  key.data()[0] &= 248;  // as `wg genkey` prints keys
  key.data()[31] = static_cast<uint8_t>((key.data()[31] & 127) | 64);
  return key;
}

Address Fleet::InnerAddress(uint64_t index) const {
  Address address{Family::kIpv6, {}};
  address.bytes[0] = 0xfd;
  for (size_t i = 1; i < 8; ++i) address.bytes[i] = seed_[i];
  for (size_t i = 0; i < 8; ++i) {
    address.bytes[15 - i] = static_cast<uint8_t>((index + 1) >> 8 * i);
  }
  return address;
}

void Fleet::WriteNdjson(std::ostream& out) const {
  for (uint64_t i = 0; i < size_; ++i) {
    out << "{\"public_key\":\"" << ToBase64(Public(i)) << "\",\"allowed_ips\":[\""
        << ToString(InnerAddress(i)) << "/128\"]}\n";
  }
}

void Fleet::WriteConf(std::ostream& out) const {
  for (uint64_t i = 0; i < size_; ++i) {
    out << "[Peer]\nPublicKey = " << ToBase64(Public(i))
        << "\nAllowedIPs = " << ToString(InnerAddress(i)) << "/128\n";
  }
}

}  // namespace wicket::blast
