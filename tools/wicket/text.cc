#include "tools/wicket/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace wicket::tools {
namespace {

std::string Wrap(const char* code, absl::string_view text) {
  if (!Coloured()) return std::string(text);
  return absl::StrCat("\x1b[", code, "m", text, "\x1b[0m");
}

}  // namespace

bool Coloured() {
  static const bool coloured = [] {
    const char* mode = getenv("WG_COLOR_MODE");
    if (mode != nullptr && strcmp(mode, "always") == 0) return true;
    if (mode != nullptr && strcmp(mode, "never") == 0) return false;
    return isatty(STDOUT_FILENO) == 1;
  }();
  return coloured;
}

std::string Bold(absl::string_view text) { return Wrap("1", text); }

std::string Heading(absl::string_view text, bool is_peer) {
  return Wrap(is_peer ? "33;1" : "32;1", text);
}

std::string Ago(absl::Duration duration) {
  int64_t seconds = absl::ToInt64Seconds(duration);
  if (seconds < 0) return "in the future";
  if (seconds == 0) return "Now";
  constexpr struct {
    int64_t seconds;
    const char* name;
  } kUnits[] = {
      {365 * 86400, "year"}, {86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
  std::string text;
  for (const auto& unit : kUnits) {
    const int64_t count = seconds / unit.seconds;
    if (count == 0) continue;
    absl::StrAppend(&text, text.empty() ? "" : ", ", count, " ", unit.name, count == 1 ? "" : "s");
    seconds %= unit.seconds;
  }
  return text + " ago";
}

std::string Size(uint64_t bytes) {
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  constexpr const char* kUnits[] = {"KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  return absl::StrFormat("%.2f %s", value, kUnits[unit]);
}

std::string Trim(const std::string& text) { return std::string(absl::StripAsciiWhitespace(text)); }

std::string QuoteForShell(absl::string_view word) {
  std::string quoted = "'";
  for (const char c : word) absl::StrAppend(&quoted, c == '\'' ? "'\\''" : std::string(1, c));
  return quoted + "'";
}

}  // namespace wicket::tools
