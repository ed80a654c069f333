// The clients that a load comes from. The same seed makes the same clients.
#pragma once

#include <ostream>
#include <string>

#include "base/address.h"
#include "base/secret.h"
#include "crypto/blake2s.h"
#include "crypto/curve25519.h"

namespace wicket::blast {

// Keys and addresses are derived from the seed when they are asked for. Thread: any.
class Fleet {
 public:
  Fleet(const std::string& seed, uint64_t size);

  uint64_t size() const { return size_; }
  // The private key of client `index`. Fleets of one seed share their keys, whatever their size. So
  // only an index beyond the largest fleet that an endpoint was given is nobody's key.
  Secret<kKeyBytes> PrivateKey(uint64_t index) const;
  PublicKey Public(uint64_t index) const { return crypto::DerivePublicKey(PrivateKey(index)); }
  // The IPv6 address of client `index` inside the tunnel. The seed determines its /64.
  Address InnerAddress(uint64_t index) const;

  // Writes all clients as peers for an endpoint, in the formats of docs/peers.md. The peers
  // name no device. The caller checks `out`.
  void WriteNdjson(std::ostream& out) const;
  void WriteConf(std::ostream& out) const;

 private:
  crypto::Hash seed_;
  uint64_t size_;
};

}  // namespace wicket::blast
