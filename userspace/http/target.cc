#include "http/target.h"

#include <algorithm>

#include "absl/strings/str_split.h"

namespace wicket::http {
namespace {

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::optional<std::string> Unescape(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out.push_back(text[i]);
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = HexDigit(text[i + 1]), low = HexDigit(text[i + 2]);
    if (high < 0 || low < 0 || high + low == 0) return std::nullopt;
    out.push_back(static_cast<char>(high << 4 | low));
    i += 2;
  }
  return out;
}

}  // namespace

std::optional<Target> ParseTarget(absl::string_view text) {
  Target target;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits('?', 1));
  for (const absl::string_view segment : absl::StrSplit(parts[0], '/', absl::SkipEmpty())) {
    auto decoded = Unescape(segment);
    if (!decoded) return std::nullopt;
    target.path.push_back(std::move(*decoded));
  }
  if (parts.size() == 1) return target;
  for (const absl::string_view item : absl::StrSplit(parts[1], '&', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair =
        absl::StrSplit(item, absl::MaxSplits('=', 1));
    auto name = Unescape(pair.first), value = Unescape(pair.second);
    if (!name || !value) return std::nullopt;
    target.query[*name] = std::move(*value);
  }
  return target;
}

std::optional<PublicKey> ParseKeySegment(absl::string_view segment) {
  std::string base64(segment);
  std::replace(base64.begin(), base64.end(), '-', '+');
  std::replace(base64.begin(), base64.end(), '_', '/');
  if (base64.size() == 43) base64.push_back('=');
  return ParsePublicKey(base64);
}

}  // namespace wicket::http
