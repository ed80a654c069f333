// Gives up every system call but some, for the whole process and for good.
#pragma once

#include <span>

#include "base/status.h"

namespace wicket::sandbox {

struct Allowed {
  std::span<const char* const> calls;    // by name; one that this machine does not have is left out
  std::span<const int> socket_families;  // of new sockets
};

// From here on any other call ends the process with SIGSYS, and no memory may become executable.
// What every program of threads needs, such as futex, is allowed without being named.
//
// Thread: any; it holds for all threads. Errors: FailedPrecondition when the kernel takes no
// filter.
absl::Status AllowOnly(const Allowed& allowed);

}  // namespace wicket::sandbox
