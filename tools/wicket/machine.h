// What `wicket doctor` looks at on this machine.
#pragma once

#include "gateway/config.h"
#include "report/diagnose.h"

namespace wicket::tools {

// Looks, and changes nothing. What cannot be seen is left empty.
// `config`: as it was read; with a problem, only the machine itself is looked at.
report::Machine LookAtMachine(const std::string& config_path,
                              const absl::StatusOr<gateway::Config>& config);

}  // namespace wicket::tools
