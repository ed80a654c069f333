// What the kernel says of a network interface.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

namespace wicket::xsk {

// Returns: zeros when there is no such interface, or it could not be asked.
std::array<uint8_t, 6> MacOf(int ifindex);

// RX queues. Returns: 1 when the driver does not tell; nullopt when it could not be asked, as
//          without an interface of that name. Waits for RTNL.
std::optional<uint32_t> AskQueueCount(const std::string& nic);
// The same, and 1 when it could not be asked.
uint32_t QueueCount(const std::string& nic);

}  // namespace wicket::xsk
