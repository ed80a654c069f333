// What a diagnosis looks at on this machine.
#pragma once

#include "gateway/config.h"
#include "report/diagnose.h"

namespace wicket::gateway {

// Looks, and changes nothing. What cannot be seen is left empty.
// `config`: as it was read; with a problem, only the machine itself is looked at.
// `privileged`: XDP hooks are looked at, too.
report::Machine LookAtMachine(const std::string& config_path, const absl::StatusOr<Config>& config,
                              bool privileged);

}  // namespace wicket::gateway
