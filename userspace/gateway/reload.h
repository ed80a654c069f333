// What of a configuration can change while running.
#pragma once

#include <string>
#include <vector>

#include "gateway/config.h"

namespace wicket::gateway {

// Takes from `wanted` what can change while running, but not the reinjection mode: a NIC may refuse
// that. Returns: the settings that differ and need a restart.
std::vector<std::string> TakeReloadable(const Config& wanted, Config* running);

}  // namespace wicket::gateway
