// Peers in both text formats, and the status file.
#include <sstream>

#include "document/peer_text.h"
#include "document/status_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wicket;
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const auto format : {document::Format::kNdjson, document::Format::kWgConf}) {
    std::istringstream input(text);
    document::PeerReader reader(&input, format, "wg0");
    for (int i = 0; i < 100; ++i) {
      store::Peer peer;
      const auto more = reader.Next(&peer);
      if (more.ok() && !*more) break;
      if (more.ok() && !document::ParsePeerJson(document::ToJsonLine(peer)).ok()) __builtin_trap();
    }
  }
  document::ParseStatus(text).IgnoreError();
  return 0;
}
