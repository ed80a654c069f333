#include "xsk/flows.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "xdp/steer_abi.h"

namespace wicket::xsk {
namespace {

steer_flow FlowOf(const Endpoint& source, uint16_t port) {
  steer_flow flow{};
  memcpy(flow.address_be, source.address.Mapped().data(), sizeof(flow.address_be));
  flow.source_port = source.port;
  flow.port = port;
  return flow;
}

}  // namespace

absl::Status Flows::Note(const Endpoint& source, uint16_t port) {
  const steer_flow key = FlowOf(source, port);
  const uint64_t now_ns = SteadyNanos();
  steer_flow_state state;
  const bool known = bpf_map_lookup_elem(map_.get(), &key, &state) == 0;
  if (!known || now_ns - state.history_ns >= STEER_HISTORY_NS) {
    state = {.last_initiation_ns = 0, .history_ns = now_ns, .forgotten = 0, .padding = 0};
  } else if (state.forgotten) {
    state.forgotten = 0;
  } else {
    return absl::OkStatus();
  }
  if (bpf_map_update_elem(map_.get(), &key, &state, BPF_ANY) != 0) {
    return ErrnoStatus(errno, "bpf_map_update(steer_flows)");
  }
  return absl::OkStatus();
}

absl::Status Flows::Forget(const Endpoint& source, uint16_t port) {
  const steer_flow key = FlowOf(source, port);
  steer_flow_state state;
  if (bpf_map_lookup_elem(map_.get(), &key, &state) != 0 || state.forgotten) {
    return absl::OkStatus();
  }
  state.forgotten = 1;
  if (bpf_map_update_elem(map_.get(), &key, &state, BPF_EXIST) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, "bpf_map_update(steer_flows)");
  }
  return absl::OkStatus();
}

}  // namespace wicket::xsk
