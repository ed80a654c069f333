// Gives a packet back to the kernel, which processes it as if it had just arrived.
//
//   live  BPF_PROG_TEST_RUN with live frames (Linux 5.18): the frame enters the stack of its own
//         NIC. Needs native XDP on that NIC: under generic XDP the frame would pass our own program
//         again and loop.
//   raw   a raw socket to the local address: any kernel. The packet arrives on lo, so a gateway
//         with several addresses may answer from a different one.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "base/fd.h"
#include "base/status.h"

struct reinject_bpf;

namespace wicket::reinject {

// A frame and the offsets of its headers. `bytes` starts at the Ethernet header.
struct Packet {
  std::span<uint8_t> bytes;
  uint16_t ip_offset = 0;
  uint16_t udp_offset = 0;
};

// Writes a complete UDP checksum. Senders on virtual interfaces leave it to hardware offload that
// does not exist there, and the kernel would drop the packet.
// Requires: a UDP packet that classify() accepts.
void CompleteChecksum(const Packet& packet);

// Thread: one.
class Injector {
 public:
  static absl::StatusOr<std::unique_ptr<Injector>> Open();
  ~Injector();

  // Tests live injection with a frame of an unused ethertype, which the stack ignores.
  // Returns: OK when this kernel and this NIC accept live frames.
  absl::Status ProbeLive(int ifindex);

  // Both complete the checksum first, in `packet`.
  // Cost: live 14-19 us, raw 2 us.
  absl::Status InjectLive(const Packet& packet, int ifindex);
  absl::Status InjectRaw(const Packet& packet);

 private:
  Injector() = default;
  absl::Status RunLive(std::span<uint8_t> frame, int ifindex);

  struct Destroy {
    void operator()(reinject_bpf* skeleton) const;
  };
  std::unique_ptr<reinject_bpf, Destroy> program_;
  absl::Status program_status_;
  Fd raw4_, raw6_;
};

}  // namespace wicket::reinject
