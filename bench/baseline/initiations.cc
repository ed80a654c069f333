#include "bench/baseline/initiations.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <pcap/pcap.h>
#include <poll.h>

#include <memory>

#include "absl/strings/str_cat.h"
#include "wgdev/device.h"

namespace wicket::baseline {
namespace {

constexpr int kSocketBytes = 8 << 20;

static_assert(sizeof(bpf_insn) == sizeof(sock_filter));

absl::Status SetFilter(int fd, uint16_t port) {
  const std::string text = absl::StrCat("udp and dst port ", port, " and udp[8] = 1");
  const std::unique_ptr<pcap_t, void (*)(pcap_t*)> pcap(pcap_open_dead(DLT_EN10MB, 65535),
                                                        pcap_close);
  bpf_program compiled;
  if (pcap_compile(pcap.get(), &compiled, text.c_str(), 1, PCAP_NETMASK_UNKNOWN) != 0) {
    return absl::InternalError(absl::StrCat("pcap_compile(", text, "): ", pcap_geterr(pcap.get())));
  }
  const sock_fprog program{static_cast<unsigned short>(compiled.bf_len),
                           reinterpret_cast<sock_filter*>(compiled.bf_insns)};
  const int set = setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program));
  const int error = errno;
  pcap_freecode(&compiled);
  return set == 0 ? absl::OkStatus() : ErrnoStatus(error, "setsockopt(SO_ATTACH_FILTER)");
}

}  // namespace

absl::StatusOr<Initiations> Initiations::Open(const std::string& nic, uint16_t port) {
  const int ifindex = wgdev::InterfaceIndex(nic);
  if (ifindex == 0) return absl::NotFoundError(absl::StrCat(nic, ": no such interface"));
  Initiations initiations;
  // Protocol 0: nothing is received before the filter is set and the socket is bound.
  initiations.fd_ = Fd(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  const int fd = initiations.fd_.get();
  if (fd < 0) return ErrnoStatus(errno, "socket(AF_PACKET)", "needs CAP_NET_RAW");
  WICKET_RETURN_IF_ERROR(SetFilter(fd, port));
  const int one = 1;
  setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBytes, sizeof(kSocketBytes)) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof(kSocketBytes));
  }
  const sockaddr_ll address{.sll_family = AF_PACKET,
                            .sll_protocol = htons(ETH_P_IP),
                            .sll_ifindex = ifindex,
                            .sll_hatype = 0,
                            .sll_pkttype = 0,
                            .sll_halen = 0,
                            .sll_addr = {}};
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return ErrnoStatus(errno, absl::StrCat("bind(AF_PACKET, ", nic, ")"));
  }
  initiations.bytes_.resize(kBatch);
  initiations.pieces_.resize(kBatch);
  initiations.headers_.resize(kBatch);
  for (size_t i = 0; i < kBatch; ++i) {
    initiations.pieces_[i] = {initiations.bytes_[i].data(), kFrameBytes};
    initiations.headers_[i].msg_hdr = {.msg_iov = &initiations.pieces_[i], .msg_iovlen = 1};
  }
  return initiations;
}

absl::StatusOr<std::span<const std::span<const uint8_t>>> Initiations::Read(int timeout_ms) {
  frames_.clear();
  pollfd waited{fd_.get(), POLLIN, 0};
  const int ready = poll(&waited, 1, timeout_ms);
  if (ready < 0 && errno != EINTR) return ErrnoStatus(errno, "poll(AF_PACKET)");
  if (ready > 0) {
    const int n = recvmmsg(fd_.get(), headers_.data(), kBatch, MSG_DONTWAIT, nullptr);
    if (n < 0 && errno != EAGAIN && errno != EINTR && errno != ENETDOWN) {
      return ErrnoStatus(errno, "recvmmsg(AF_PACKET)");
    }
    for (int i = 0; i < n; ++i) {
      frames_.push_back({bytes_[static_cast<size_t>(i)].data(), headers_[i].msg_len});
    }
  }
  return std::span<const std::span<const uint8_t>>(frames_);
}

}  // namespace wicket::baseline
