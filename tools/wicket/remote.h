// Gateways elsewhere, which the command line reaches through their wicket-edge.
//
// Each is a [[remote]] of ~/.config/wicket/remotes.toml ($XDG_CONFIG_HOME) or
// /etc/wicket/remotes.toml; the first file that has the name counts.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/status.h"
#include "http/transport.h"

namespace wicket::tools {

struct Remote {
  std::string host;  // a name or an address
  uint16_t port = 8443;
  std::string token;             // empty: none
  std::string ca;                // PEM file; empty: what the system trusts
  std::string certificate, key;  // PEM files; empty: none
};

// Errors: NotFound names the files that were looked through, and the names they have;
//         InvalidArgument holds a line for every problem of a file; those of a file that cannot be
//         read, such as NotFound for the token's.
absl::StatusOr<Remote> FindRemote(const std::string& name);

// Waits 10 s at most for each address, and for TLS. The deadline of TLS is still set on return.
// Errors: Unavailable, Unauthenticated and others say what cannot be reached or trusted.
absl::StatusOr<std::unique_ptr<http::Transport>> ConnectTo(const Remote& remote);

}  // namespace wicket::tools
