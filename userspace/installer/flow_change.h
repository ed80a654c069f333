// A change of a flow's state in the XDP program.
#pragma once

#include <vector>

#include "base/address.h"

namespace wicket::installer {

struct FlowChange {
  Endpoint source;  // family kNone: nothing to do
  bool known;       // true: its first tries pass to the kernel; false: they come to us
};
using FlowChanges = std::vector<FlowChange>;

}  // namespace wicket::installer
