// Errors for an operator to read: absl::Status, and the two macros that propagate it.
//
// A message names the call with its arguments, then the cause, then a hint.
// The fate of a packet is never a Status; it is a Verdict and a counter.
#pragma once

#include "absl/strings/string_view.h"
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace wicket {

// Makes the status of a failed system call: "CALL: strerror (HINT)".
//
// Requires: error_number is positive, as errno is.
absl::Status ErrnoStatus(int error_number, absl::string_view call, absl::string_view hint = {});

// Returns: `status` with "context: " before its message, without its payloads; an OK one as it is.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace wicket

#define WICKET_RETURN_IF_ERROR(expr)       \
  do {                                     \
    absl::Status wicket_status_ = (expr);  \
    if (!wicket_status_.ok()) [[unlikely]] \
      return wicket_status_;               \
  } while (0)

#define WICKET_CONCAT_INNER_(a, b) a##b
#define WICKET_CONCAT_(a, b) WICKET_CONCAT_INNER_(a, b)
#define WICKET_ASSIGN_OR_RETURN(lhs, expr) \
  WICKET_ASSIGN_OR_RETURN_(WICKET_CONCAT_(wicket_or_, __LINE__), lhs, expr)
#define WICKET_ASSIGN_OR_RETURN_(or_value, lhs, expr) \
  auto or_value = (expr);                             \
  if (!or_value.ok()) [[unlikely]]                    \
    return or_value.status();                         \
  lhs = std::move(or_value).value()
