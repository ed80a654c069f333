// A listening TCP socket.
#pragma once

#include "base/address.h"
#include "base/fd.h"
#include "base/status.h"

namespace wicket::edge {

// Errors: name the endpoint, and what to do.
absl::StatusOr<Fd> ListenAt(const Endpoint& endpoint);

}  // namespace wicket::edge
