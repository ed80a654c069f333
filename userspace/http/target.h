// The path and query of a request, decoded.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/key.h"

namespace wicket::http {

struct Target {
  std::vector<std::string> path;             // "/v1/a%2Fb" -> {"v1", "a/b"}
  std::map<std::string, std::string> query;  // the last of each name
};

// Returns: nullopt when an escape is not two hexadecimal digits, or encodes a zero byte.
std::optional<Target> ParseTarget(absl::string_view text);

// A public key in a path: base64, or base64url with or without its padding.
std::optional<PublicKey> ParseKeySegment(absl::string_view segment);

}  // namespace wicket::http
