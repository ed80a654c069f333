// The configuration of a peer, as a WireGuard device needs it.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/address.h"
#include "base/key.h"
#include "base/secret.h"

namespace wicket {

struct PeerConfig {
  PublicKey public_key;
  std::optional<Secret<kKeyBytes>> preshared_key;
  uint16_t persistent_keepalive_s = 0;  // 0: off
  std::vector<Prefix> allowed_ips;
};

}  // namespace wicket
