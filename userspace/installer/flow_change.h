// A change of a flow's state in the XDP program.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/address.h"
#include "base/status.h"

namespace wicket::installer {

struct FlowChange {
  Endpoint source;  // family kNone: nothing to do
  bool known;       // true: its first tries pass to the kernel; false: they come to us
};
using FlowChanges = std::vector<FlowChange>;
// Makes the change for a device's port. Thread: all installers at once.
using FlowTable = std::function<absl::Status(const FlowChange& flow, uint16_t port)>;

}  // namespace wicket::installer
