// Frames around messages.
#pragma once

#include <string.h>

#include <vector>

#include "wire/messages.h"

namespace wicket {

// Ethernet, IPv4 from 192.0.0.0 to itself, UDP to port 51820.
inline std::vector<uint8_t> FrameOf(const wire::Initiation& message) {
  std::vector<uint8_t> frame(42 + sizeof(message));
  frame[12] = 0x08;
  frame[14] = 0x45;
  frame[17] = 176;
  frame[22] = 64;
  frame[23] = 17;
  frame[26] = frame[30] = 192;
  frame[36] = 51820 >> 8;
  frame[37] = 51820 & 0xff;
  frame[39] = 156;
  memcpy(frame.data() + 42, &message, sizeof(message));
  return frame;
}

}  // namespace wicket
