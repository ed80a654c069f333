// The route to a target, as the kernel would send.
#pragma once

#include <optional>
#include <string>

#include "base/status.h"
#include "tools/blast/frame.h"

namespace wicket::blast {

// Whether packets to the target stay on this machine: the target is an address of the machine, or
// a neighbour on a virtual link (veth, dummy) that does not lead to the Internet. Targets behind a
// router or a physical NIC may belong to other people.
// `interface`: the one that packets leave through; empty: the route's. A neighbour counts only
// where it is the route's.
bool StaysHere(const Address& target, const std::string& interface);

// The first hop on the way to a target.
struct Hop {
  std::string interface;
  Address own;               // the source that the kernel would choose
  Mac own_station, station;  // MAC addresses of the interface and of the hop
};

// Sends an empty datagram to the target, so that the kernel resolves the neighbour, and waits for
// that for at most 1 s.
// `tagged`: frames will leave through `interface` with a VLAN tag. The kernel knows neighbours by
// the VLAN's own interface then, the route's.
// Errors: NotFound when there is no route or no such interface, or the neighbour does not answer;
//         FailedPrecondition when the target is an address of this machine; InvalidArgument when
//         `interface` would tag twice; others name the system call that failed.
absl::StatusOr<Hop> FirstHop(const Endpoint& target, const std::string& interface, bool tagged);

}  // namespace wicket::blast
