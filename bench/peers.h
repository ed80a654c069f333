// Peers by number.
#pragma once

#include "bench/keys.h"
#include "store/store.h"

namespace wicket {

// A peer with an IPv4 and an IPv6 address.
inline store::Peer DualStackPeer(uint64_t n) {
  store::Peer peer;
  peer.config.public_key = KeyOf(n);
  peer.config.allowed_ips = {*ParsePrefix("10.1.2.3"), *ParsePrefix("fd00::1")};
  peer.device = "wg0";
  return peer;
}

}  // namespace wicket
