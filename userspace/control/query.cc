#include "control/query.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "document/answer_text.h"

namespace wicket::control {

absl::Status CheckQuery(const http::Target& target, std::initializer_list<const char*> known) {
  for (const auto& [name, value] : target.query) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return document::AboutField(
          name, absl::InvalidArgumentError(absl::StrCat("unknown parameter \"", name, "\"")));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::optional<bool>> FlagOf(const http::Target& target, const std::string& name) {
  const auto it = target.query.find(name);
  if (it == target.query.end()) return std::nullopt;
  if (it->second == "true" || it->second == "false") return it->second == "true";
  return document::AboutField(
      name, absl::InvalidArgumentError(
                absl::StrCat(name, ": found \"", it->second, "\"; accepted: true or false")));
}

}  // namespace wicket::control
