// A listening TCP socket.
#pragma once

#include "base/address.h"
#include "base/fd.h"
#include "base/status.h"

namespace wicket::edge {

// For the endpoint's address family only: [::] takes no IPv4.
// Errors: name the call; of bind() also the endpoint, and what to do.
absl::StatusOr<Fd> ListenAt(const Endpoint& endpoint);

}  // namespace wicket::edge
