// A listening Unix socket and its place in the file system.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/status.h"

namespace wicket::http {

// Thread: one.
class UnixListener {
 public:
  // Listens at `path` with mode 0660, and makes its folder when that is missing. Nobody can
  // connect before mode and group are right. A socket that a dead process left there is
  // replaced; one that a living process serves is not.
  // Errors: FailedPrecondition when a living process serves `path`, by its number where it accepts
  //         us; InvalidArgument when `path` is longer than 107 bytes; the others name the call.
  static absl::StatusOr<UnixListener> Bind(const std::string& path, int backlog,
                                           std::optional<gid_t> group);
  UnixListener(UnixListener&&) noexcept = default;
  // Removes the socket from the file system, unless another one lies there.
  ~UnixListener();

  int fd() const { return fd_.get(); }

 private:
  UnixListener() = default;

  Fd fd_;
  std::string path_;
  dev_t device_ = 0;  // of the socket's file
  ino_t inode_ = 0;
};

}  // namespace wicket::http
