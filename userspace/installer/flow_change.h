// What the XDP program should know of a flow from here on.
#pragma once

#include <vector>

#include "base/address.h"

namespace wicket::installer {

struct FlowChange {
  Endpoint source;  // family kNone: nothing to do
  bool known;       // its first tries pass to the kernel; false: they come to us
};
using FlowChanges = std::vector<FlowChange>;

}  // namespace wicket::installer
