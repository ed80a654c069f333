// The kernel's WireGuard driver, over generic Netlink.
#pragma once

#include <memory>
#include <string>

#include "wgdev/device.h"

namespace wicket::wgdev {

// Errors: Unimplemented when the kernel has no WireGuard.
// Source: [uapi wireguard.h]
absl::StatusOr<std::unique_ptr<Device>> OpenNetlink(const std::string& name);

}  // namespace wicket::wgdev
