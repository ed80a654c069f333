// A message that may be an initiation, as it came in.
#pragma once

#include <cstdint>
#include <span>

#include "wire/messages.h"
#include "xdp/steer_abi.h"

namespace wicket::intake {

// Lifetime: points into the feeder's memory, which stays as it is until the batch is judged.
struct Arrival {
  std::span<uint8_t> frame;  // the Ethernet frame around the message; a cookie reply replaces it
  wire::Frame found;         // without an initiation: the bytes held none
  Address charged;           // whose budget a proof is taken from
};

// Finds the initiation in a frame of an AF_XDP ring, and charges its source address for it.
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
