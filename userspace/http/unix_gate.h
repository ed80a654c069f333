// The gate of a Unix socket: the file's mode and group let in, the caller's user and groups say how
// far.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>

#include "base/status.h"
#include "http/gate.h"
#include "http/unix_listener.h"

namespace wicket::http {

struct UnixOptions {
  std::string socket = "/run/wicket/control.sock";
  std::string group;  // of the socket, whose members may connect; empty: the daemon's
  // Whose members may write, as root and the daemon's user may; empty: all that may connect.
  std::string write_group;

  friend bool operator==(const UnixOptions&, const UnixOptions&) = default;
};

// Checks what can be checked before a socket is opened. Errors: NotFound names a group.
absl::Status CheckOptions(const UnixOptions& options);

class UnixGate : public Gate {
 public:
  // Errors: name the socket or group that cannot be used; FailedPrecondition when a living process
  //         serves the socket.
  static absl::StatusOr<std::unique_ptr<Gate>> Open(const UnixOptions& options);

  int fd() const override { return listener_.fd(); }
  std::optional<Visitor> Receive(Fd fd) override;

 private:
  UnixGate(UnixListener listener, std::optional<gid_t> write_group)
      : listener_(std::move(listener)), write_group_(write_group) {}

  UnixListener listener_;
  std::optional<gid_t> write_group_;
};

}  // namespace wicket::http
