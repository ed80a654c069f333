// A message that may be an initiation, as received.
#pragma once

#include <cstdint>
#include <span>

#include "wire/messages.h"
#include "xdp/steer_abi.h"

namespace wicket::intake {

// Lifetime: points into the feeder's memory, which must not change until the batch is judged and
// its cookie replies are sent. After kCookie `found` is void: the reply lies in the frame.
struct Arrival {
  std::span<uint8_t> frame;  // the Ethernet frame of the message; a cookie reply overwrites it
  wire::Frame found;         // without an initiation when the frame holds none, or is too long
  Address charged;           // the source whose budget pays for a proof
};

// Finds the initiation in a frame of an AF_XDP ring, and charges the source address.
inline Arrival ArrivalOf(std::span<uint8_t> frame) {
  Arrival arrival{.frame = frame, .found = {}, .charged = {}};
  if (frame.size() > STEER_FRAME_MAX || !wire::ParseFrame(frame, &arrival.found)) {
    arrival.found.initiation = nullptr;
  } else {
    arrival.charged = arrival.found.source.address;
  }
  return arrival;
}

}  // namespace wicket::intake
