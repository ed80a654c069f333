// Frames from the wire, and initiations past mac1: the parser must stay within the frame, and no
// random message may be proven.
#include <cstdlib>
#include <cstring>

#include "noise/responder.h"
#include "wire/messages.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wicket;
  static const auto* identity = [] {
    if (!crypto::Initialize().ok()) abort();
    Secret<kKeyBytes> key;
    key.data()[0] = 8;
    key.data()[31] = 64;
    return new noise::Identity(key);
  }();
  wire::Frame frame;
  if (wire::ParseFrame({data, size}, &frame)) {
    const auto* begin = reinterpret_cast<const uint8_t*>(frame.initiation);
    if (begin < data || begin + sizeof(wire::Initiation) > data + size) abort();
  }
  if (size >= sizeof(wire::Initiation)) {
    wire::Initiation message;
    memcpy(&message, data, sizeof(message));
    auto claim = noise::OpenStatic(*identity, message);
    if (claim && noise::OpenTimestamp(*identity, std::move(*claim), message)) abort();
  }
  return 0;
}
