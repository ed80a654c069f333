// Facts that this file relies on:
//  * The driver holds RTNL for a whole message, and computes one X25519 for each new peer while it
//    does. So a message carries few peers, however many are to be installed.
//  * A message is not atomic: peers before the failing one are applied, later ones are skipped, and
//    the error does not say which peer failed.
//  * A dump that a change interrupts is flagged, and may end early without an error.
#include "wgdev/netlink.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/wireguard.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include <algorithm>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "wgdev/set_device.h"

namespace wicket::wgdev {
namespace {

constexpr size_t kPeersPerMessageMax = 64;     // 3-6 ms of RTNL at 50-100 us a peer
constexpr size_t kRemovalsPerMessageMax = 16;  // two grace periods each
constexpr size_t kReceiveBytes = 32 * 1024;    // libmnl's recommendation for dumps
constexpr int kAnswerTimeout_s = 10;

class Socket {
 public:
  static absl::StatusOr<Socket> Open() {
    mnl_socket* raw = mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC);
    if (raw == nullptr) return ErrnoStatus(errno, "socket(NETLINK_GENERIC)");
    Socket socket(raw);
    if (mnl_socket_bind(raw, 0, MNL_SOCKET_AUTOPID) < 0) {
      return ErrnoStatus(errno, "bind(NETLINK_GENERIC)");
    }
    const timeval timeout{kAnswerTimeout_s, 0};
    setsockopt(mnl_socket_get_fd(raw), SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    return socket;
  }

  absl::Status Send(const nlmsghdr* message) {
    ssize_t sent;
    do {
      sent = mnl_socket_sendto(socket_.get(), message, message->nlmsg_len);
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? ErrnoStatus(errno, "send(wireguard)") : absl::OkStatus();
  }

  // Returns: the size of one datagram.
  absl::StatusOr<size_t> Receive(uint8_t* buffer, size_t bytes) {
    ssize_t received;
    do {
      received = mnl_socket_recvfrom(socket_.get(), buffer, bytes);
    } while (received < 0 && errno == EINTR);
    if (received < 0) {
      return ErrnoStatus(errno, "recv(wireguard)",
                         errno == EAGAIN ? "the kernel did not answer in 10 s" : "");
    }
    return static_cast<size_t>(received);
  }

 private:
  struct Close {
    void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
  };
  explicit Socket(mnl_socket* socket) : socket_(socket) {}
  std::unique_ptr<mnl_socket, Close> socket_;
};

// Visits the attributes in the `bytes` bytes at `begin`; stops at a malformed one.
template <typename Visit>
void ForEachAttribute(const void* begin, size_t bytes, Visit visit) {
  const auto* attribute = static_cast<const nlattr*>(begin);
  auto left = static_cast<int>(bytes);
  while (mnl_attr_ok(attribute, left)) {
    visit(attribute);
    left -= static_cast<int>(MNL_ALIGN(attribute->nla_len));
    attribute = mnl_attr_next(attribute);
  }
}

template <typename Visit>
void ForEachAttribute(const nlattr* nest, Visit visit) {
  ForEachAttribute(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), visit);
}

template <typename Visit>
void ForEachAttribute(const nlmsghdr* message, Visit visit) {
  const size_t bytes = mnl_nlmsg_get_payload_len(message);
  if (bytes < sizeof(genlmsghdr)) return;
  ForEachAttribute(mnl_nlmsg_get_payload_offset(message, sizeof(genlmsghdr)),
                   bytes - sizeof(genlmsghdr), visit);
}

template <typename T>
bool ReadAttribute(const nlattr* attribute, T* out) {
  if (mnl_attr_get_payload_len(attribute) < sizeof(T)) return false;
  memcpy(out, mnl_attr_get_payload(attribute), sizeof(T));
  return true;
}

void ReadAllowedIp(const nlattr* nest, ConfigDigest* digest) {
  Prefix prefix;
  ForEachAttribute(nest, [&](const nlattr* attribute) {
    const size_t bytes = mnl_attr_get_payload_len(attribute);
    if (mnl_attr_get_type(attribute) == WGALLOWEDIP_A_CIDR_MASK) {
      ReadAttribute(attribute, &prefix.length);
    } else if (mnl_attr_get_type(attribute) == WGALLOWEDIP_A_IPADDR &&
               (bytes == 4 || bytes == 16)) {
      prefix.address.family = bytes == 4 ? Family::kIpv4 : Family::kIpv6;
      memcpy(prefix.address.bytes.data(), mnl_attr_get_payload(attribute), bytes);
    }
  });
  digest->AddAllowedIp(prefix);
}

// Returns: false for the continuation of a peer whose allowed ips did not fit into one message.
bool ReadPeer(const nlattr* nest, PeerStats* peer) {
  bool first_part = false;
  ForEachAttribute(nest, [&](const nlattr* attribute) {
    switch (mnl_attr_get_type(attribute)) {
      case WGPEER_A_PUBLIC_KEY:
        ReadAttribute(attribute, &peer->public_key.bytes);
        break;
      case WGPEER_A_ENDPOINT:
        if (const auto endpoint = FromSockaddr(mnl_attr_get_payload(attribute),
                                               mnl_attr_get_payload_len(attribute))) {
          peer->endpoint = *endpoint;
        }
        break;
      case WGPEER_A_LAST_HANDSHAKE_TIME: {
        int64_t time[2];  // struct __kernel_timespec
        if (ReadAttribute(attribute, &time)) {
          peer->last_handshake = absl::FromUnixSeconds(time[0]) + absl::Nanoseconds(time[1]);
        }
        break;
      }
      case WGPEER_A_RX_BYTES:
        first_part = ReadAttribute(attribute, &peer->received_bytes);
        break;
      case WGPEER_A_TX_BYTES:
        ReadAttribute(attribute, &peer->sent_bytes);
        break;
      case WGPEER_A_PRESHARED_KEY:
        if (mnl_attr_get_payload_len(attribute) == kKeyBytes) {
          peer->digest.AddPresharedKey(
              static_cast<const uint8_t*>(mnl_attr_get_payload(attribute)));
        }
        break;
      case WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL: {
        uint16_t seconds = 0;
        if (ReadAttribute(attribute, &seconds)) peer->digest.AddKeepalive(seconds);
        break;
      }
      case WGPEER_A_ALLOWEDIPS:
        ForEachAttribute(attribute, [&](const nlattr* ip) { ReadAllowedIp(ip, &peer->digest); });
        break;
      default:
        break;
    }
  });
  return first_part;
}

absl::Status AnswerStatus(const nlmsghdr* message, absl::string_view call) {
  const auto* error = static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
  if (error->error == 0) return absl::OkStatus();
  return ErrnoStatus(-error->error, call,
                     error->error == -EPERM ? "needs CAP_NET_ADMIN in this network namespace" : "");
}

class NetlinkDump : public Dump {
 public:
  NetlinkDump(Socket socket, std::string name)
      : socket_(std::move(socket)), name_(std::move(name)), buffer_(kReceiveBytes) {}
  absl::StatusOr<bool> Next(std::vector<PeerStats>* peers) override {
    WICKET_ASSIGN_OR_RETURN(size_t received, socket_.Receive(buffer_.data(), buffer_.size()));
    const absl::Cleanup wipe = [this] { explicit_bzero(buffer_.data(), buffer_.size()); };
    auto left = static_cast<int>(received);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.data());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_flags & NLM_F_DUMP_INTR) interrupted_ = true;
      if (message->nlmsg_type == NLMSG_DONE) {
        int error = 0;  // the dump's, if it ended early
        if (mnl_nlmsg_get_payload_len(message) >= sizeof(error)) {
          memcpy(&error, mnl_nlmsg_get_payload(message), sizeof(error));
        }
        if (error >= 0) return false;
        return ErrnoStatus(-error, absl::StrCat("WG_CMD_GET_DEVICE(", name_, ")"));
      }
      if (message->nlmsg_type == NLMSG_ERROR) {
        WICKET_RETURN_IF_ERROR(
            AnswerStatus(message, absl::StrCat("WG_CMD_GET_DEVICE(", name_, ")")));
        return false;
      }
      ForEachAttribute(message,
                       [&](const nlattr* attribute) { ReadDeviceAttribute(attribute, peers); });
    }
    return true;
  }
  bool interrupted() const override { return interrupted_; }
  PublicKey public_key() const override { return info.public_key; }
  uint16_t listen_port() const override { return info.listen_port; }

  DeviceInfo info;
  bool keep_private_key = false;  // the kernel sends it with every dump

 private:
  void ReadDeviceAttribute(const nlattr* attribute, std::vector<PeerStats>* peers) {
    switch (mnl_attr_get_type(attribute)) {
      case WGDEVICE_A_IFINDEX:
        ReadAttribute(attribute, &info.ifindex);
        break;
      case WGDEVICE_A_LISTEN_PORT:
        ReadAttribute(attribute, &info.listen_port);
        break;
      case WGDEVICE_A_PUBLIC_KEY:
        ReadAttribute(attribute, &info.public_key.bytes);
        break;
      case WGDEVICE_A_PRIVATE_KEY:
        if (keep_private_key && mnl_attr_get_payload_len(attribute) == kKeyBytes) {
          memcpy(info.private_key.data(), mnl_attr_get_payload(attribute), kKeyBytes);
        }
        break;
      case WGDEVICE_A_PEERS:
        ForEachAttribute(attribute, [&](const nlattr* nest) {
          PeerStats peer;
          if (ReadPeer(nest, &peer)) peers->push_back(peer);
        });
        break;
      default:
        break;
    }
  }

  Socket socket_;
  std::string name_;
  std::vector<uint8_t> buffer_;
  bool interrupted_ = false;
};

class NetlinkDevice : public Device {
 public:
  NetlinkDevice(std::string name, Socket socket, uint16_t family)
      : name_(std::move(name)),
        socket_(std::move(socket)),
        family_(family),
        send_(SetDevice::kBytesMax) {}
  ~NetlinkDevice() override { explicit_bzero(send_.data(), send_.size()); }

  absl::string_view backend() const override { return "netlink"; }

  absl::StatusOr<DeviceInfo> ReadInfo() override {
    WICKET_ASSIGN_OR_RETURN(std::unique_ptr<NetlinkDump> dump, Begin());
    dump->keep_private_key = true;
    std::vector<PeerStats> peers;
    // The key is in the first message; the rest of the dump is never read.
    WICKET_RETURN_IF_ERROR(dump->Next(&peers).status());
    return std::move(dump->info);
  }

  absl::StatusOr<std::unique_ptr<Dump>> StartDump() override {
    WICKET_ASSIGN_OR_RETURN(std::unique_ptr<NetlinkDump> dump, Begin());
    return std::unique_ptr<Dump>(std::move(dump));
  }

  std::vector<absl::Status> Install(std::span<const PeerInstall> peers) override {
    return ApplyBisecting(peers.size(), kPeersPerMessageMax, [&](size_t begin, size_t end) {
      return InstallRange(peers.subspan(begin, end - begin));
    });
  }

  std::vector<absl::Status> SetKeepalives(std::span<const PeerConfig* const> peers) override {
    return ApplyBisecting(peers.size(), kPeersPerMessageMax, [&](size_t begin, size_t end) {
      SetDevice set(send_.data(), family_, ++sequence_, name_);
      for (const PeerConfig* peer : peers.subspan(begin, end - begin)) {
        set.PutKeepalive(peer->public_key, peer->persistent_keepalive_s);
      }
      return Transact(set.Finish());
    });
  }

  std::vector<absl::Status> Remove(std::span<const PublicKey> keys) override {
    return ApplyBisecting(keys.size(), kRemovalsPerMessageMax, [&](size_t begin, size_t end) {
      SetDevice set(send_.data(), family_, ++sequence_, name_);
      for (const PublicKey& key : keys.subspan(begin, end - begin)) set.PutRemoval(key);
      return Transact(set.Finish());
    });
  }

 private:
  absl::StatusOr<std::unique_ptr<NetlinkDump>> Begin() {
    WICKET_ASSIGN_OR_RETURN(Socket socket, Socket::Open());
    uint8_t buffer[256];
    nlmsghdr* message =
        PutHeader(buffer, family_, WG_CMD_GET_DEVICE, NLM_F_DUMP | NLM_F_ACK, ++sequence_);
    mnl_attr_put_strz(message, WGDEVICE_A_IFNAME, name_.c_str());
    WICKET_RETURN_IF_ERROR(socket.Send(message));
    return std::make_unique<NetlinkDump>(std::move(socket), name_);
  }

  absl::Status InstallRange(std::span<const PeerInstall> peers) {
    for (SetDevice::Position next; next.peer < peers.size();) {
      SetDevice set(send_.data(), family_, ++sequence_, name_);
      next = set.PutPeers(peers, next);
      WICKET_RETURN_IF_ERROR(Transact(set.Finish()));
    }
    return absl::OkStatus();
  }

  absl::Status Transact(const nlmsghdr* message) {
    const absl::Cleanup wipe = [this] { explicit_bzero(send_.data(), send_.size()); };
    const uint32_t sequence = message->nlmsg_seq;
    WICKET_RETURN_IF_ERROR(socket_.Send(message));
    uint8_t answer[4096];
    for (;;) {  // bounded by the receive timeout
      WICKET_ASSIGN_OR_RETURN(size_t received, socket_.Receive(answer, sizeof(answer)));
      auto left = static_cast<int>(received);
      const auto* header = reinterpret_cast<const nlmsghdr*>(answer);
      for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
        if (header->nlmsg_seq == sequence && header->nlmsg_type == NLMSG_ERROR) {
          return AnswerStatus(header, absl::StrCat("WG_CMD_SET_DEVICE(", name_, ")"));
        }  // a late answer to a request that timed out
      }
    }
  }

  std::string name_;
  Socket socket_;
  uint16_t family_;
  uint32_t sequence_ = 0;
  std::vector<uint8_t> send_;
};

absl::StatusOr<uint16_t> FamilyId(Socket* socket) {
  uint8_t buffer[4096];
  nlmsghdr* message = PutHeader(buffer, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, NLM_F_ACK, 1);
  mnl_attr_put_strz(message, CTRL_ATTR_FAMILY_NAME, WG_GENL_NAME);
  WICKET_RETURN_IF_ERROR(socket->Send(message));
  uint16_t id = 0;
  for (;;) {
    WICKET_ASSIGN_OR_RETURN(size_t received, socket->Receive(buffer, sizeof(buffer)));
    auto left = static_cast<int>(received);
    const auto* header = reinterpret_cast<const nlmsghdr*>(buffer);
    for (; mnl_nlmsg_ok(header, left); header = mnl_nlmsg_next(header, &left)) {
      if (header->nlmsg_type == NLMSG_ERROR) {
        const absl::Status status = AnswerStatus(header, "CTRL_CMD_GETFAMILY(wireguard)");
        if (absl::IsNotFound(status)) {
          return absl::UnimplementedError(
              "CTRL_CMD_GETFAMILY(wireguard): this kernel has no WireGuard driver (modprobe "
              "wireguard, or run a user-space implementation and set backend = \"uapi\")");
        }
        WICKET_RETURN_IF_ERROR(status);
        return id;
      }
      ForEachAttribute(header, [&](const nlattr* attribute) {
        if (mnl_attr_get_type(attribute) == CTRL_ATTR_FAMILY_ID) ReadAttribute(attribute, &id);
      });
    }
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Device>> OpenNetlink(const std::string& name) {
  WICKET_ASSIGN_OR_RETURN(Socket socket, Socket::Open());
  WICKET_ASSIGN_OR_RETURN(const uint16_t family, FamilyId(&socket));
  auto device = std::make_unique<NetlinkDevice>(name, std::move(socket), family);
  WICKET_RETURN_IF_ERROR(device->ReadInfo().status());
  return device;
}

}  // namespace wicket::wgdev
