#include "base/status.h"

#include <system_error>

#include "absl/strings/str_cat.h"

namespace wicket {

absl::Status ErrnoStatus(int error_number, absl::string_view call, absl::string_view hint) {
  std::string message = absl::StrCat(call, ": ", std::generic_category().message(error_number));
  if (!hint.empty()) absl::StrAppend(&message, " (", hint, ")");
  return absl::Status(absl::ErrnoToStatusCode(error_number), message);
}

absl::Status Annotate(const absl::Status& status, absl::string_view context) {
  if (status.ok()) return status;
  return absl::Status(status.code(), absl::StrCat(context, ": ", status.message()));
}

}  // namespace wicket
