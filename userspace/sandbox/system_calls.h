// Gives up every system call but some, for the whole process and for good.
#pragma once

#include <span>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace wicket::sandbox {

struct Allowed {
  // Names with a space between. What this machine does not have is left out.
  absl::string_view calls;
  std::span<const int> socket_families;  // of new sockets
};

// From here on any other call ends the process with SIGSYS, no memory may become executable
// (EPERM), and no process may be made. What every program of threads needs, such as futex, is
// allowed without being named.
//
// Thread: any; it holds for all threads. Errors: FailedPrecondition when the kernel takes no
// filter.
absl::Status AllowOnly(const Allowed& allowed);

}  // namespace wicket::sandbox
