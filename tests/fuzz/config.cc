// Configuration files.
#include "gateway/config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  wicket::gateway::ParseConfig(text, "fuzz.toml").IgnoreError();
  return 0;
}
