#include "xsk/socket.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <xdp/xsk.h>

#include <bit>
#include <vector>

#include "absl/strings/str_cat.h"

namespace wicket::xsk {
namespace {

constexpr uint32_t kRxEntries = 2048;
// Some drivers take frames ahead of what they deliver, and starve with less.
constexpr uint32_t kFrames = 2 * kRxEntries;
// Room for every frame twice: the kernel may publish frames in the RX ring before
// it publishes that it took them from the fill ring.
constexpr uint32_t kFillEntries = 2 * kFrames;
constexpr uint32_t kSendEntries = 2048;
constexpr int kSendCalls = 64;
constexpr int kBindTries = 20;  // of 50 ms: a queue is freed a grace period after close

struct UmemDeleter {
  void operator()(xsk_umem* umem) const { xsk_umem__delete(umem); }
};
struct SocketDeleter {
  void operator()(xsk_socket* socket) const { xsk_socket__delete(socket); }
};
struct AreaUnmapper {
  size_t bytes;
  void operator()(void* area) const { munmap(area, bytes); }
};

}  // namespace

// Member order is destruction order, backwards: the socket goes before its UMEM,
// the UMEM before its memory.
struct Socket::Rings {
  explicit Rings(uint32_t send_frames)
      : area(nullptr, {(size_t{kFrames} + send_frames) * kFrameBytes}),
        ledger(kFrames + send_frames, kFrameBytes) {
    for (uint32_t i = 0; i < send_frames; ++i) {
      send_free.push_back((uint64_t{kFrames} + i) * kFrameBytes);
    }
  }
  uint8_t* At(uint64_t address) {
    return static_cast<uint8_t*>(xsk_umem__get_data(area.get(), address));
  }

  std::unique_ptr<void, AreaUnmapper> area;
  xsk_ring_prod fill{};
  xsk_ring_cons completion{};
  xsk_ring_cons rx{};
  xsk_ring_prod tx{};
  std::unique_ptr<xsk_umem, UmemDeleter> umem;
  std::unique_ptr<xsk_socket, SocketDeleter> socket;
  FrameLedger ledger;
  std::vector<uint64_t> send_free;  // addresses
  uint32_t sending = 0;             // in the TX or the completion ring
};

Socket::Socket(uint32_t send_frames) : rings_(std::make_unique<Rings>(send_frames)) {}
Socket::~Socket() = default;

absl::StatusOr<std::unique_ptr<Socket>> Socket::Open(const SocketOptions& options) {
  std::unique_ptr<Socket> self(new Socket(options.send_frames));
  Rings& rings = *self->rings_;
  const size_t umem_bytes = rings.area.get_deleter().bytes;
  void* area = mmap(nullptr, umem_bytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (area == MAP_FAILED) return ErrnoStatus(errno, absl::StrCat("mmap(umem, ", umem_bytes, ")"));
  rings.area.reset(area);

  xsk_umem_config umem_config{};
  umem_config.fill_size = kFillEntries;
  umem_config.comp_size = kSendEntries;
  umem_config.frame_size = kFrameBytes;
  xsk_umem* umem = nullptr;
  if (int error =
          xsk_umem__create(&umem, area, umem_bytes, &rings.fill, &rings.completion, &umem_config)) {
    return ErrnoStatus(-error, absl::StrCat("XDP_UMEM_REG(", umem_bytes, " bytes)"),
                       "needs CAP_NET_RAW, and CAP_IPC_LOCK or a larger RLIMIT_MEMLOCK");
  }
  rings.umem.reset(umem);

  xsk_socket_config config{};
  config.rx_size = kRxEntries;
  config.tx_size = kSendEntries;
  config.libxdp_flags = XSK_LIBXDP_FLAGS__INHIBIT_PROG_LOAD;
  config.bind_flags =
      static_cast<uint16_t>(XDP_USE_NEED_WAKEUP | (options.force_copy ? XDP_COPY : 0));
  xsk_socket* socket = nullptr;
  int error = 0;
  for (int attempt = 0; attempt < kBindTries; ++attempt) {
    error = xsk_socket__create(&socket, options.nic.c_str(), options.queue, umem, &rings.rx,
                               &rings.tx, &config);
    if (error != -EBUSY) break;
    const timespec pause{0, 50'000'000};
    nanosleep(&pause, nullptr);
  }
  if (error != 0) {
    return ErrnoStatus(-error,
                       absl::StrCat("bind(xsk, if=", options.nic, " queue=", options.queue, ")"),
                       error == -EBUSY ? "another socket owns this queue" : "");
  }
  rings.socket.reset(socket);

  xdp_options bound{};
  socklen_t length = sizeof(bound);
  self->zero_copy_ = getsockopt(self->fd(), SOL_XDP, XDP_OPTIONS, &bound, &length) == 0 &&
                     (bound.flags & XDP_OPTIONS_ZEROCOPY);

  uint32_t index = 0;
  if (xsk_ring_prod__reserve(&rings.fill, kFrames, &index) != kFrames) {
    return absl::InternalError("fill ring: smaller than asked for");
  }
  for (uint32_t frame = 0; frame < kFrames; ++frame) {
    const uint64_t address = uint64_t{frame} * kFrameBytes;
    *xsk_ring_prod__fill_addr(&rings.fill, index++) = address;
    rings.ledger.Move(address, FrameLedger::Owner::kNobody, FrameLedger::Owner::kKernel);
  }
  xsk_ring_prod__submit(&rings.fill, kFrames);
  return self;
}

int Socket::fd() const { return xsk_socket__fd(rings_->socket.get()); }

std::span<RxFrame> Socket::Peek(size_t count_max) {
  uint32_t index = 0;
  // libxdp looks at the producer again only when all it saw before is taken.
  rings_->rx.cached_prod = __atomic_load_n(rings_->rx.producer, __ATOMIC_ACQUIRE);
  const uint32_t received =
      xsk_ring_cons__peek(&rings_->rx, static_cast<uint32_t>(count_max), &index);
  for (uint32_t i = 0; i < received; ++i) {
    const xdp_desc* descriptor = xsk_ring_cons__rx_desc(&rings_->rx, index++);
    batch_[i].data = rings_->At(descriptor->addr);
    batch_[i].bytes = descriptor->len;
    batch_[i].address = descriptor->addr;
    rings_->ledger.Move(descriptor->addr, FrameLedger::Owner::kKernel, FrameLedger::Owner::kShard);
  }
  batch_size_ = received;
  return {batch_, received};
}

uint32_t Socket::Waiting() const {
  return __atomic_load_n(rings_->rx.producer, __ATOMIC_ACQUIRE) - *rings_->rx.consumer;
}

bool Socket::Reply(const RxFrame& frame, uint32_t bytes) {
  uint32_t index = 0;
  if (rings_->sending == kSendEntries || xsk_ring_prod__reserve(&rings_->tx, 1, &index) != 1) {
    return false;
  }
  *xsk_ring_prod__tx_desc(&rings_->tx, index) = {frame.address, bytes, 0};
  xsk_ring_prod__submit(&rings_->tx, 1);
  rings_->ledger.Move(frame.address, FrameLedger::Owner::kShard, FrameLedger::Owner::kKernel);
  ++rings_->sending;
  replied_ |= uint64_t{1} << (&frame - batch_);
  return true;
}

void Socket::Release() {
  const auto received = static_cast<uint32_t>(batch_size_);
  const uint32_t count = received - static_cast<uint32_t>(std::popcount(replied_));
  if (count > 0) {
    uint32_t index = 0;
    while (xsk_ring_prod__reserve(&rings_->fill, count, &index) != count) {
      // Bounded by the kernel's own next step; see kFillEntries.
    }
    for (uint32_t i = 0; i < received; ++i) {
      if (replied_ >> i & 1) continue;
      const uint64_t address = batch_[i].address - batch_[i].address % kFrameBytes;
      *xsk_ring_prod__fill_addr(&rings_->fill, index++) = address;
      rings_->ledger.Move(address, FrameLedger::Owner::kShard, FrameLedger::Owner::kKernel);
    }
    xsk_ring_prod__submit(&rings_->fill, count);
  }
  if (received > 0) xsk_ring_cons__release(&rings_->rx, received);
  batch_size_ = 0;
  replied_ = 0;
  if (rings_->sending > 0) Flush();
  if (xsk_ring_prod__needs_wakeup(&rings_->fill)) {
    recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
  }
}

uint8_t* Socket::Reserve() {
  if (rings_->send_free.empty() || rings_->sending == kSendEntries) return nullptr;
  return rings_->At(rings_->send_free.back());
}

void Socket::Submit(uint32_t bytes) {
  uint32_t index = 0;
  if (xsk_ring_prod__reserve(&rings_->tx, 1, &index) != 1) return;  // as many entries as `sending`
  const uint64_t address = rings_->send_free.back();
  rings_->send_free.pop_back();
  *xsk_ring_prod__tx_desc(&rings_->tx, index) = {address, bytes, 0};
  xsk_ring_prod__submit(&rings_->tx, 1);
  rings_->ledger.Move(address, FrameLedger::Owner::kNobody, FrameLedger::Owner::kKernel);
  ++rings_->sending;
}

uint64_t Socket::Flush() {
  uint64_t dropped = 0;
  if (xsk_ring_prod__needs_wakeup(&rings_->tx)) {
    // Copy mode sends 32 at a call and says EAGAIN while there are more. EBUSY ends the call too:
    // the device dropped one, which is complete as if it were sent.
    for (int calls = 0; calls < kSendCalls;) {
      if (sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) >= 0) break;
      if (errno == EBUSY) {
        ++dropped;
      } else if (errno == EAGAIN) {
        ++calls;
      } else {
        break;
      }
    }
  }
  Complete();
  return dropped;
}

// Frames that were received go back to be filled, the others to those that are free.
void Socket::Complete() {
  uint32_t index = 0;
  const uint32_t sent = xsk_ring_cons__peek(&rings_->completion, kSendEntries, &index);
  for (uint32_t i = 0; i < sent; ++i) {
    const uint64_t sent_from = *xsk_ring_cons__comp_addr(&rings_->completion, index++);
    const uint64_t address = sent_from - sent_from % kFrameBytes;
    rings_->ledger.Move(address, FrameLedger::Owner::kKernel, FrameLedger::Owner::kNobody);
    if (address >= uint64_t{kFrames} * kFrameBytes) {
      rings_->send_free.push_back(address);
      continue;
    }
    uint32_t fill_index = 0;
    while (xsk_ring_prod__reserve(&rings_->fill, 1, &fill_index) != 1) {
    }
    *xsk_ring_prod__fill_addr(&rings_->fill, fill_index) = address;
    xsk_ring_prod__submit(&rings_->fill, 1);
    rings_->ledger.Move(address, FrameLedger::Owner::kNobody, FrameLedger::Owner::kKernel);
  }
  if (sent > 0) xsk_ring_cons__release(&rings_->completion, sent);
  rings_->sending -= sent;
}

SocketStats Socket::ReadStats() const {
  xdp_statistics raw{};
  socklen_t length = sizeof(raw);
  if (getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &raw, &length) != 0) return {};
  return {raw.rx_dropped, raw.rx_ring_full, raw.rx_fill_ring_empty_descs};
}

}  // namespace wicket::xsk
