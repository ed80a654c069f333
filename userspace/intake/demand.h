// A request to an installer: have a peer in the device, and give its packet back.
#pragma once

#include <array>
#include <cstdint>

#include "base/address.h"
#include "base/key.h"
#include "base/spsc_queue.h"
#include "base/tai64n.h"
#include "xdp/steer_abi.h"

namespace wicket::intake {

// The reason for a demand.
enum class Reason : uint8_t {
  kProven,   // the initiation of a stored peer proved its key
  kForeign,  // that of a foreign peer did: only give the packet back
};

// A proven initiation in flight to the installer, with a copy of its frame.
struct Demand {
  PublicKey public_key;
  Tai64n stamp;
  Endpoint source;
  uint64_t seen_ns = 0;  // SteadyNanos() when the shard took the frame
  int ifindex = 0;       // the NIC that it arrived on, and is given back to
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
