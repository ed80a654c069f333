#include "wire/messages.h"

#include <string.h>

#include "xdp/classify.h"

namespace wicket::wire {

static_assert(sizeof(Initiation) == CLASSIFY_INITIATION_BYTES);

bool ParseFrame(std::span<const uint8_t> bytes, Frame* frame) {
  classify_packet packet;
  if (bytes.empty()) return false;  // there is no pointer to compare with
  if (classify(bytes.data(), bytes.data() + bytes.size(), &packet) != CLASSIFY_INITIATION) {
    return false;
  }
  frame->initiation = reinterpret_cast<const Initiation*>(bytes.data() + packet.udp_offset + 8);
  frame->port = packet.port;
  frame->can_be_answered = classify_can_be_answered(&packet) != 0;
  frame->ip_offset = packet.ip_offset;
  frame->udp_offset = packet.udp_offset;
  frame->source = {};
  frame->source.port = packet.source_port;
  if (packet.version == 4) {
    frame->source.address.family = Family::kIpv4;
    memcpy(frame->source.address.bytes.data(), packet.source_be + 12, 4);
  } else {
    frame->source.address.family = Family::kIpv6;
    memcpy(frame->source.address.bytes.data(), packet.source_be, 16);
  }
  return true;
}

}  // namespace wicket::wire
