// What the kernel says of a network interface.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace wicket::xsk {

// Returns: zeros when there is no such interface.
std::array<uint8_t, 6> MacOf(int ifindex);

// RX queues. Returns: 1 when the driver does not tell.
uint32_t QueueCount(const std::string& nic);

}  // namespace wicket::xsk
