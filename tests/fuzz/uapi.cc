// Answers of a user-space WireGuard, in two pieces.
#include "wgdev/uapi.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace wicket;
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  wgdev::UapiAnswer answer;
  std::vector<wgdev::PeerStats> peers;
  const auto first = answer.Consume(text.substr(0, size / 2), &peers);
  if (first.ok() && !*first) answer.Consume(text.substr(size / 2), &peers).IgnoreError();
  return 0;
}
