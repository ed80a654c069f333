// What an installer is asked to do: have a peer in the device, and give a packet back.
#pragma once

#include <array>
#include <cstdint>

#include "base/address.h"
#include "base/key.h"
#include "base/spsc_queue.h"
#include "base/tai64n.h"
#include "xdp/steer_abi.h"

namespace wicket::intake {

// Why the peer should be in the device.
enum class Reason : uint8_t {
  kProven,   // a stored peer's initiation proved its key
  kForeign,  // so did that of a peer that somebody else put into the device: give it back, no more
};

// A proven initiation on its way to the installer, with a copy of its frame.
struct Demand {
  PublicKey public_key;
  Tai64n stamp;
  Endpoint source;
  uint64_t seen_ns = 0;  // SteadyNanos() when the shard took the frame
  int ifindex = 0;       // the NIC it came in by, and goes back to
  uint16_t port = 0;
  uint16_t ip_offset = 0;
  uint16_t udp_offset = 0;
  uint16_t frame_bytes = 0;
  Reason reason = Reason::kProven;
  bool source_proven = false;  // by a cookie
  std::array<uint8_t, STEER_FRAME_MAX> frame;
};

using DemandQueue = SpscQueue<Demand>;
inline constexpr size_t kDemandQueueCapacity = 1024;

}  // namespace wicket::intake
