// Handshake initiations that pass a NIC, seen from a packet socket.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <span>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"

namespace wicket::baseline {

// A packet socket with the filter `udp and dst port PORT and udp[8] = 1`, compiled by libpcap and
// run by the kernel. libpcap takes `udp[8]` to mean IPv4, so only IPv4 is received.
//
// Thread: one.
class Initiations {
 public:
  // Errors: those of the failed call; a packet socket needs CAP_NET_RAW.
  static absl::StatusOr<Initiations> Open(const std::string& nic, uint16_t port);

  // Waits for packets, and reads those that are there, 64 at most.
  // Returns: frames, valid until the next call; none after `timeout_ms`.
  // Errors:  those of poll(2) and recvmmsg(2).
  absl::StatusOr<std::span<const std::span<const uint8_t>>> Read(int timeout_ms);

  int fd() const { return fd_.get(); }

 private:
  static constexpr size_t kBatch = 64;
  static constexpr size_t kFrameBytes = 256;  // an initiation with two tags and IP options has 230

  Fd fd_;
  std::vector<std::array<uint8_t, kFrameBytes>> bytes_;
  std::vector<iovec> pieces_;
  std::vector<mmsghdr> headers_;
  std::vector<std::span<const uint8_t>> frames_;
};

}  // namespace wicket::baseline
