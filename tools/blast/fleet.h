// The clients that a load comes from: the same ones for the same seed, as many as wanted.
#pragma once

#include <ostream>
#include <string>

#include "base/address.h"
#include "base/secret.h"
#include "crypto/blake2s.h"
#include "crypto/curve25519.h"

namespace wicket::blast {

// Thread: any; holds no state but the seed.
class Fleet {
 public:
  Fleet(const std::string& seed, uint64_t size);

  uint64_t size() const { return size_; }
  // Of client `index`; beyond size(): of somebody who is nobody's peer.
  Secret<kKeyBytes> PrivateKey(uint64_t index) const;
  PublicKey Public(uint64_t index) const { return crypto::DerivePublicKey(PrivateKey(index)); }
  // The address of client `index` inside the tunnel, in a /64 of this seed's own.
  Address InnerAddress(uint64_t index) const;

  // What an endpoint must be told of all clients, in the formats of docs/peers.md.
  void WriteNdjson(std::ostream& out) const;
  void WriteConf(std::ostream& out) const;

 private:
  crypto::Hash seed_;
  uint64_t size_;
};

}  // namespace wicket::blast
