// The way to a target, as the kernel would send.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "tools/blast/frame.h"

namespace wicket::blast {

// True for addresses of this machine and loopback, and for neighbours on a virtual link
// (veth, dummy): what is behind a router or a real NIC may be somebody else's.
// `interface`: the only one it is sent through; empty: the route's.
bool StaysHere(const Address& target, const std::string& interface);

// The first hop on the way to `target`.
struct Hop {
  std::string interface;
  Address own;  // what the kernel would send from
  Mac own_station, station;
};

// Asks the neighbour for its station if nobody has, for at most 1 s. `tagged`: frames will carry a
// VLAN's tag through `interface`; neighbours are known on the VLAN's own interface, the route's.
// Errors: NotFound without a route or a neighbour; FailedPrecondition for an address of ours.
absl::StatusOr<Hop> FirstHop(const Endpoint& target, const std::string& interface, bool tagged);

}  // namespace wicket::blast
