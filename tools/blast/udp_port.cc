// The way to the target through UDP sockets, one a source.
#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "base/fd.h"
#include "tools/blast/capture.h"
#include "tools/blast/port.h"

namespace wicket::blast {
namespace {

constexpr int kEvents = 64;
constexpr int kSocketBytes = 1 << 20;
constexpr size_t kQueued = 64;
constexpr int kFullMax = 1000;  // waits for room in a socket's buffer in one flush, 1 ms each
constexpr uint64_t kRun = 32;   // packets of one source, sent by one system call

absl::StatusOr<Fd> OpenSource(const PortOptions& options, uint64_t number) {
  sockaddr_storage address;
  const socklen_t bytes = ToSockaddr(options.target, &address);
  Fd fd(socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket(SOCK_DGRAM)", "too many sources?");
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof(kSocketBytes));
  // Without this option the kernel reports packets as sent that the interface had no room for.
  const int on = 1;
  const bool ipv4 = options.target.address.family == Family::kIpv4;
  setsockopt(fd.get(), ipv4 ? IPPROTO_IP : IPPROTO_IPV6, ipv4 ? IP_RECVERR : IPV6_RECVERR, &on,
             sizeof(on));
  Endpoint source = options.sources.At(number);
  if (source.address.family == Family::kNone) source.address.family = options.target.address.family;
  if (!options.sources.from.empty() || source.port != 0) {
    source.scope_id = options.target.scope_id;
    sockaddr_storage own;
    const socklen_t own_bytes = ToSockaddr(source, &own);
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&own), own_bytes) != 0) {
      return ErrnoStatus(
          errno, absl::StrCat("bind(", ToString(source), ")"),
          errno == EADDRNOTAVAIL ? "only --via xdp sends from what is not ours" : "");
    }
  }
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), bytes) != 0) {
    return ErrnoStatus(errno, absl::StrCat("connect(", ToString(options.target), ")"));
  }
  return fd;
}

class UdpPort : public Port {
 public:
  UdpPort(Fd epoll, std::vector<Fd> sockets, uint64_t step)
      : epoll_(std::move(epoll)), sockets_(std::move(sockets)), step_(step) {}

  void Send(uint64_t source, std::span<const uint8_t> payload) override {
    if (queued_ == kQueued) FlushQueue();
    Queued& slot = queue_[queued_++];
    slot.socket = sockets_[source / step_].get();
    slot.bytes = std::min(payload.size(), kPayloadMax);
    memcpy(slot.payload, payload.data(), slot.bytes);
  }

  Unsent Flush() override {
    FlushQueue();
    return std::exchange(unsent_, {});
  }

  void Receive(uint64_t wait_ns, const Take& take) override {
    epoll_event events[kEvents];
    const timespec wait{static_cast<time_t>(wait_ns / 1'000'000'000),
                        static_cast<long>(wait_ns % 1'000'000'000)};
    const int ready = epoll_pwait2(epoll_.get(), events, kEvents, &wait, nullptr);
    for (int i = 0; i < ready; ++i) {
      uint8_t bytes[kPayloadMax];
      if (events[i].events & EPOLLERR) {  // empties the queue: sending has reported the errors
        while (recv(events[i].data.fd, bytes, sizeof(bytes), MSG_ERRQUEUE) >= 0) {
        }
      }
      for (;;) {
        const ssize_t n = recv(events[i].data.fd, bytes, sizeof(bytes), 0);
        if (n < 0) break;  // no more packets, or the target refused one
        take({bytes, static_cast<size_t>(n)});
      }
    }
  }

  uint64_t Overrun() const override {
    uint64_t sum = 0;
    for (const Fd& fd : sockets_) {
      uint32_t info[SK_MEMINFO_VARS] = {};
      socklen_t bytes = sizeof(info);
      if (getsockopt(fd.get(), SOL_SOCKET, SO_MEMINFO, info, &bytes) == 0) {
        sum += info[SK_MEMINFO_DROPS];
      }
    }
    return sum;
  }

  uint64_t run() const override { return kRun; }

 private:
  struct Queued {
    int socket;
    size_t bytes;
    uint8_t payload[kPayloadMax];
  };

  // One call sends a run of packets that have the same socket.
  void FlushQueue() {
    mmsghdr messages[kQueued];
    iovec parts[kQueued];
    int full = 0;
    for (size_t begin = 0, end; begin < queued_; begin = end) {
      for (end = begin; end < queued_ && queue_[end].socket == queue_[begin].socket; ++end) {
        parts[end] = {queue_[end].payload, queue_[end].bytes};
        messages[end] = {};
        messages[end].msg_hdr.msg_iov = &parts[end];
        messages[end].msg_hdr.msg_iovlen = 1;
      }
      for (size_t at = begin; at < end;) {
        const int sent = sendmmsg(queue_[begin].socket, &messages[at],
                                  static_cast<unsigned>(end - at), MSG_NOSIGNAL);
        const bool no_room = sent < 0 && (errno == EAGAIN || errno == ENOBUFS);
        if (no_room && ++full <= kFullMax) {  // the packet leaves late
          pollfd room{queue_[begin].socket, POLLOUT, 0};
          poll(&room, 1, 1);
          continue;
        }
        at += sent > 0 ? static_cast<size_t>(sent) : 1;  // an error is about the first packet
        if (sent <= 0) ++(no_room ? unsent_.no_room : unsent_.refused);
      }
    }
    queued_ = 0;
  }

  Fd epoll_;
  std::vector<Fd> sockets_;
  uint64_t step_;
  Queued queue_[kQueued];
  size_t queued_ = 0;
  Unsent unsent_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Port>> OpenUdpPort(const PortOptions& options,
                                                  const SourceRange& range) {
  Fd epoll(epoll_create1(EPOLL_CLOEXEC));
  std::vector<Fd> sockets;
  for (uint64_t i = 0; i < range.count; ++i) {
    WICKET_ASSIGN_OR_RETURN(Fd fd, OpenSource(options, range.first + i * range.step));
    epoll_event event{.events = EPOLLIN, .data = {.fd = fd.get()}};
    if (epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd.get(), &event) != 0) {
      return ErrnoStatus(errno, "epoll_ctl()");
    }
    sockets.push_back(std::move(fd));
  }
  return std::make_unique<UdpPort>(std::move(epoll), std::move(sockets), range.step);
}

}  // namespace wicket::blast
