// What a diagnosis looks at on this machine.
#pragma once

#include <sys/types.h>

#include <optional>

#include "gateway/config.h"
#include "report/diagnose.h"

namespace wicket::gateway {

// Looks, and changes nothing. What cannot be seen is left empty. Waits for RTNL while that is held,
// and as root for devices that hang.
// `config`: as it was read; with a problem, only the machine itself is looked at.
report::Machine LookAtMachine(const std::string& config_path, const absl::StatusOr<Config>& config);
// The same without rights, from within a service that hides parts of the machine: what may be
// hidden is left out. `running`: what the gateway runs with; its file is checked beside.
report::Machine LookAtMachineFromWithin(const Config& running);

// Of a process that runs. Returns: nullopt when it is gone, or may not be looked at.
std::optional<report::ProcessFacts> LookAtProcess(pid_t pid);

}  // namespace wicket::gateway
