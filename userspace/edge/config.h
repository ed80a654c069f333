// wicket-edge's configuration file (TOML). docs/edge.md is its reference.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/status.h"
#include "http/exchange.h"

namespace wicket::edge {

struct Config {
  std::vector<Endpoint> listen;  // empty: sockets come from the service manager
  std::string socket = "/run/wicket/control.sock";
  std::string tls_certificate, tls_key;       // PEM files
  std::string tokens;                         // a file; empty: none
  std::string client_ca;                      // PEM file; empty: no client certificates
  std::map<std::string, http::Role> clients;  // by the common name of a client's certificate
  uint64_t connections_per_address = 16;
  uint64_t failures_per_minute = 10;  // of an address: tokens that are not right

  // Errors: InvalidArgument holds a line for every problem: "FILE:LINE: KEY: found X; accepted: Y".
  //         Of a file that is no TOML: the first problem, as "FILE:LINE: PROBLEM; accepted: TOML".
  static absl::StatusOr<Config> Parse(absl::string_view text, const std::string& name);
  // A relative path of a PEM file or of `tokens` is in systemd's $CREDENTIALS_DIRECTORY, or,
  // without one, in the folder of `path`.
  static absl::StatusOr<Config> Load(const std::string& path);
  // The keys of the file, as KeyReference::text().
  static std::string Reference();
};

}  // namespace wicket::edge
