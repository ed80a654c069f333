// The Netlink message that changes peers of a WireGuard device.
#pragma once

#include <linux/netlink.h>

#include <span>
#include <string>

#include "wgdev/device.h"

namespace wicket::wgdev {

// Begins a generic Netlink request in `buffer`.
nlmsghdr* PutHeader(uint8_t* buffer, uint16_t type, uint8_t command, uint16_t flags,
                    uint32_t sequence);

// WG_CMD_SET_DEVICE, written into a buffer.
//
// Secrets: the buffer holds preshared keys; its owner wipes it.
// Cost:    no allocation; BM_SetDevice.
// Source:  [uapi wireguard.h]
class SetDevice {
 public:
  static constexpr size_t kBytesMax = 72 * 1024;

  // The next allowed ip to write. A peer whose allowed ips do not fit into one message continues
  // in the next.
  struct Position {
    size_t peer = 0, ip = 0;
  };

  // `buffer`: kBytesMax bytes. `family`: the generic Netlink family of WireGuard.
  SetDevice(uint8_t* buffer, uint16_t family, uint32_t sequence, const std::string& name);

  // Writes as many peers from `begin` on as fit. Returns: the first position that did not fit;
  // {peers.size(), 0} when all did.
  Position PutPeers(std::span<const PeerInstall> peers, Position begin);
  // Requires: a message has at most 1000 of these and of PutKeepalive(). The room is not checked.
  void PutRemoval(const PublicKey& key);
  // Changes nothing unless the peer is in the device, or earlier in this message: entries apply in
  // order.
  void PutKeepalive(const PublicKey& key, uint16_t seconds);
  const nlmsghdr* Finish();

 private:
  size_t nest_bytes() const;
  size_t PutPeer(const PeerInstall& peer, size_t first_ip);
  void PutAllowedIp(const Prefix& prefix);

  nlmsghdr* message_;
  nlattr* peers_;
};

}  // namespace wicket::wgdev
