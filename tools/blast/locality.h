// Whether load on a target stays on this machine.
#pragma once

#include "base/address.h"

namespace wicket::blast {

// True for addresses of this machine and loopback, and for neighbours on a virtual link
// (veth, bridge, dummy): what is behind a router or a real NIC may be somebody else's.
bool StaysHere(const Address& target);

}  // namespace wicket::blast
