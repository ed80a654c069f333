// One RX queue of one NIC, read through AF_XDP.
//
//            NIC queue q
//               | XDP: redirect
//   fill ring --+--> RX ring
//      ^                |
//      | Release        | Peek
//      +---- shard <----+
//
// One socket owns one UMEM and is used by one thread. Every frame is in the fill
// ring, in the RX ring, or in the shard's hands between Peek and Release.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"
#include "xsk/frame_ledger.h"

namespace wicket::xsk {

inline constexpr size_t kBatchMax = 64;

struct RxFrame {
  uint8_t* data = nullptr;
  uint32_t bytes = 0;
  uint64_t address = 0;  // in the UMEM
};

// From getsockopt(XDP_STATISTICS).
struct SocketStats {
  uint64_t dropped = 0;    // invalid for this socket
  uint64_t ring_full = 0;  // the shard is too slow
  uint64_t fill_ring_empty = 0;
};

struct SocketOptions {
  std::string nic;
  uint32_t queue = 0;
  bool force_copy = false;  // generic XDP, or zero copy known to be broken
};

// Thread: one; open it anywhere and hand it over.
class Socket {
 public:
  // Errors: names the bind with its arguments. A queue whose last socket was
  //         closed moments ago is retried for 1 s.
  static absl::StatusOr<std::unique_ptr<Socket>> Open(const SocketOptions& options);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int fd() const;
  bool zero_copy() const { return zero_copy_; }

  // Takes received frames, at most kBatchMax.
  std::span<RxFrame> Peek();
  // Gives all frames of the last Peek back to the kernel, and wakes it if it sleeps.
  void Release();

  SocketStats ReadStats() const;

 private:
  struct Rings;
  Socket();

  std::unique_ptr<Rings> rings_;
  RxFrame batch_[kBatchMax];
  size_t batch_size_ = 0;
  bool zero_copy_ = false;
};

// RX queues of the interface; 1 when the driver does not tell.
uint32_t QueueCount(const std::string& nic);

}  // namespace wicket::xsk
