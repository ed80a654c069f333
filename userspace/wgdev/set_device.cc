// Facts that this file relies on:
//  * nla_len is 16 bits: a nest of peers ends before 65 535 bytes.
#include "wgdev/set_device.h"

#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>

#include <algorithm>

namespace wicket::wgdev {
namespace {

constexpr size_t kNestBytesMax = 60'000;     // of 65 535, so that one more entry still fits
constexpr size_t kPeerHeaderBytesMax = 280;  // a peer without its allowed ips
constexpr size_t kAllowedIpBytesMax = 48;

}  // namespace

nlmsghdr* PutHeader(uint8_t* buffer, uint16_t type, uint8_t command, uint16_t flags,
                    uint32_t sequence) {
  nlmsghdr* header = mnl_nlmsg_put_header(buffer);
  header->nlmsg_type = type;
  header->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  header->nlmsg_seq = sequence;
  auto* genl = static_cast<genlmsghdr*>(mnl_nlmsg_put_extra_header(header, sizeof(genlmsghdr)));
  genl->cmd = command;
  genl->version = 1;
  return header;
}

SetDevice::SetDevice(uint8_t* buffer, uint16_t family, uint32_t sequence, const std::string& name)
    : message_(PutHeader(buffer, family, WG_CMD_SET_DEVICE, NLM_F_ACK, sequence)) {
  mnl_attr_put_strz(message_, WGDEVICE_A_IFNAME, name.c_str());
  peers_ = mnl_attr_nest_start(message_, WGDEVICE_A_PEERS);
}

SetDevice::Position SetDevice::PutPeers(std::span<const PeerInstall> peers, Position next) {
  while (next.peer < peers.size() &&
         nest_bytes() + kPeerHeaderBytesMax + kAllowedIpBytesMax < kNestBytesMax) {
    next.ip = PutPeer(peers[next.peer], next.ip);
    if (next.ip < peers[next.peer].config->allowed_ips.size()) break;
    next = {next.peer + 1, 0};
  }
  return next;
}

// Writes the peer's entry, with its allowed ips from `first_ip` on.
// Returns: the first allowed ip that did not fit, or their number when all did.
size_t SetDevice::PutPeer(const PeerInstall& peer, size_t first_ip) {
  const PeerConfig& config = *peer.config;
  nlattr* nest = mnl_attr_nest_start(message_, 0);
  mnl_attr_put(message_, WGPEER_A_PUBLIC_KEY, kKeyBytes, config.public_key.bytes.data());
  if (first_ip == 0) {
    const Secret<kKeyBytes> none;
    if (peer.replace_allowed_ips) {
      mnl_attr_put_u32(message_, WGPEER_A_FLAGS, WGPEER_F_REPLACE_ALLOWEDIPS);
    }
    mnl_attr_put(message_, WGPEER_A_PRESHARED_KEY, kKeyBytes,
                 config.preshared_key ? config.preshared_key->data() : none.data());
    if (peer.endpoint.address.family != Family::kNone) {
      sockaddr_storage storage;
      const socklen_t bytes = ToSockaddr(peer.endpoint, &storage);
      mnl_attr_put(message_, WGPEER_A_ENDPOINT, bytes, &storage);
    }
    mnl_attr_put_u16(
        message_, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL,
        peer.initiate || peer.hold_keepalive ? uint16_t{0} : config.persistent_keepalive_s);
  }
  size_t ip = first_ip;
  if (!config.allowed_ips.empty()) {
    nlattr* ips = mnl_attr_nest_start(message_, WGPEER_A_ALLOWEDIPS);
    while (ip < config.allowed_ips.size() && nest_bytes() + kAllowedIpBytesMax < kNestBytesMax) {
      PutAllowedIp(config.allowed_ips[ip++]);
    }
    mnl_attr_nest_end(message_, ips);
  }
  mnl_attr_nest_end(message_, nest);
  if (first_ip == 0 && peer.initiate) {
    // Raising a keepalive from 0 sends a packet immediately, and therefore an initiation.
    PutKeepalive(config.public_key, std::max(uint16_t{1}, config.persistent_keepalive_s));
    if (config.persistent_keepalive_s == 0 || peer.hold_keepalive) {
      PutKeepalive(config.public_key, 0);
    }
  }
  return ip;
}

void SetDevice::PutRemoval(const PublicKey& key) {
  nlattr* nest = mnl_attr_nest_start(message_, 0);
  mnl_attr_put(message_, WGPEER_A_PUBLIC_KEY, kKeyBytes, key.bytes.data());
  mnl_attr_put_u32(message_, WGPEER_A_FLAGS, WGPEER_F_REMOVE_ME);
  mnl_attr_nest_end(message_, nest);
}

const nlmsghdr* SetDevice::Finish() {
  mnl_attr_nest_end(message_, peers_);
  return message_;
}

size_t SetDevice::nest_bytes() const {
  return static_cast<size_t>(static_cast<const uint8_t*>(mnl_nlmsg_get_payload_tail(message_)) -
                             reinterpret_cast<const uint8_t*>(peers_));
}

void SetDevice::PutAllowedIp(const Prefix& prefix) {
  nlattr* nest = mnl_attr_nest_start(message_, 0);
  mnl_attr_put_u16(message_, WGALLOWEDIP_A_FAMILY,
                   prefix.address.family == Family::kIpv4 ? AF_INET : AF_INET6);
  mnl_attr_put(message_, WGALLOWEDIP_A_IPADDR, prefix.address.size(), prefix.address.bytes.data());
  mnl_attr_put_u8(message_, WGALLOWEDIP_A_CIDR_MASK, prefix.length);
  mnl_attr_nest_end(message_, nest);
}

void SetDevice::PutKeepalive(const PublicKey& key, uint16_t seconds) {
  nlattr* nest = mnl_attr_nest_start(message_, 0);
  mnl_attr_put(message_, WGPEER_A_PUBLIC_KEY, kKeyBytes, key.bytes.data());
  mnl_attr_put_u32(message_, WGPEER_A_FLAGS, WGPEER_F_UPDATE_ONLY);
  mnl_attr_put_u16(message_, WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, seconds);
  mnl_attr_nest_end(message_, nest);
}

}  // namespace wicket::wgdev
