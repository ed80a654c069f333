// wicket-hook's configuration file (TOML). docs/hooks.md is its reference.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace wicket::hook {

// One receiver, and which events it wants.
struct HookConfig {
  std::string name;
  std::string url;  // https://
  std::string secret_file;
  std::string ca;                  // PEM file; empty: what the system trusts
  std::vector<std::string> kinds;  // empty: all
  std::string device;              // empty: all
  uint64_t queue_max = 100'000;    // events
};

struct Config {
  std::string socket = "/run/wicket/control.sock";
  std::string queue = "/var/lib/wicket-hook";
  std::vector<HookConfig> hooks;

  // Errors: InvalidArgument holds a line for every problem: "FILE:LINE: KEY: found X; accepted: Y".
  //         Of a file that is no TOML: the first problem, as "FILE:LINE: PROBLEM; accepted: TOML".
  static absl::StatusOr<Config> Parse(absl::string_view text, const std::string& name);
  // A secret or a CA that a relative path names is in systemd's $CREDENTIALS_DIRECTORY, or, without
  // one, in the folder of `path`.
  static absl::StatusOr<Config> Load(const std::string& path);
  // The keys of the file, as KeyReference::text().
  static std::string Reference();
};

}  // namespace wicket::hook
