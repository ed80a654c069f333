// One queue of one NIC, read and written through AF_XDP.
//
//            NIC queue q <------------------+
//               | XDP: redirect             |
//   fill ring --+--> RX ring             TX ring
//      ^                |                ^     |
//      | Release        | Peek     Reply |     | completion ring
//      +------------- owner -------------+     |
//      +---------------------------------------+
//
// One socket owns one UMEM and is used by one thread. Every frame is in one of the
// rings, or in its owner's hands between Peek and Release. Frames of the RX ring may be
// sent in place of being given back (Reply); frames to be sent unasked are a set of
// their own (Reserve), which exists when the options ask for it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"
#include "xsk/frame_ledger.h"
#include "xsk/interface.h"

namespace wicket::xsk {

inline constexpr size_t kBatchMax = 64;
inline constexpr uint32_t kFrameBytes = 2048;

struct RxFrame {
  uint8_t* data = nullptr;
  uint32_t bytes = 0;
  uint64_t address = 0;  // in the UMEM
};

// From getsockopt(XDP_STATISTICS).
struct SocketStats {
  uint64_t dropped = 0;    // too long for a frame; in copy mode, no frame was free
  uint64_t ring_full = 0;  // the shard is too slow
  uint64_t fill_ring_empty = 0;
};

struct SocketOptions {
  std::string nic;
  uint32_t queue = 0;
  bool force_copy = false;   // generic XDP, or zero copy known to be broken
  uint32_t send_frames = 0;  // to be sent unasked
};

// Thread: one, but ReadStats() and zero_copy() by any; open it anywhere and hand it over.
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

  // Takes received frames, at most `count_max`. Lifetime: until Release().
  // Requires: 0 < count_max <= kBatchMax; frames of an earlier Peek are released.
  std::span<RxFrame> Peek(size_t count_max = kBatchMax);
  // Frames that wait to be taken, those of the last Peek included.
  uint32_t Waiting() const;
  // Sends `bytes` of a frame of the last Peek, from its data, when Release comes or before.
  // Requires: `frame` is the element itself, no copy.
  // Returns:  false when the TX ring is full, and the frame is only given back.
  bool Reply(const RxFrame& frame, uint32_t bytes);
  // Gives all frames of the last Peek back to the kernel, or sends them, and wakes it.
  void Release();

  // A frame to be sent unasked, kFrameBytes long. Returns: nullptr when all are on their way.
  uint8_t* Reserve();
  // Sends `bytes` of the frame that Reserve gave last, when Flush comes.
  void Submit(uint32_t bytes);
  // Hands what was submitted to the kernel, and takes back what it has sent.
  // Returns: how many the kernel took and could not send, for want of room; in copy mode only.
  uint64_t Flush();

  SocketStats ReadStats() const;

 private:
  struct Rings;
  explicit Socket(uint32_t send_frames);
  void Complete();

  std::unique_ptr<Rings> rings_;
  RxFrame batch_[kBatchMax];
  uint64_t replied_ = 0;  // bit i: batch_[i] is on its way
  size_t batch_size_ = 0;
  bool zero_copy_ = false;
};

}  // namespace wicket::xsk
