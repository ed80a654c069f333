// What of a configuration can change while running.
#pragma once

#include <string>
#include <vector>

#include "gateway/config.h"

namespace wicket::gateway {

// Takes from `wanted` what can change while running, but not the reinjection mode: a NIC may refuse
// that. Returns: the keys that differ and need a restart, such as "store.path"; a table's name
// where entries were added, removed or reordered.
std::vector<std::string> TakeReloadable(const Config& wanted, Config* running);

}  // namespace wicket::gateway
