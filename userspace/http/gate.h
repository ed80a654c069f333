// A listening socket, and what is known of who connects there.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/fd.h"
#include "http/exchange.h"
#include "http/transport.h"

namespace wicket::http {

// The other end of a connection.
struct Visitor {
  std::unique_ptr<Transport> transport;
  // What the sender of a request may do. Thread: the connection's.
  std::function<Role(const Exchange&)> role_of;
  bool privileged = false;  // may take one of the last connections
  // Of a limit of the gate's own; freed with the connection, by any thread.
  std::shared_ptr<void> place;
};

// Thread: one, the server's. Lifetime: it outlives its visitors.
class Gate {
 public:
  virtual ~Gate() = default;
  virtual int fd() const = 0;
  // Returns: nullopt closes the connection, without a word.
  virtual std::optional<Visitor> Receive(Fd fd) = 0;
};

}  // namespace wicket::http
