// The flows of installed peers: the program passes their initiations to the kernel.
//
// The program writes the time of an initiation into a flow's state in place. Note() and Forget()
// read a state and put another in its place. The kernel has no lock for the values of an LRU map
// (BPF_F_LOCK is refused), so two things may be lost, both within some microseconds of a call:
//
//   - an initiation between the two steps: its time is not in the new state. If the kernel does
//     not answer it, the client's first retry passes as well, and its second one is steered.
//   - an initiation that found the state before the second step and writes its time after it: that
//     memory may hold another flow by then. The other flow's next initiation is taken for a retry,
//     and a shard proves it.
//
// So a state that is right already is left alone.
#pragma once

#include <cstdint>

#include "base/address.h"
#include "base/fd.h"
#include "base/status.h"

namespace wicket::xsk {

// Thread: any; calls for one flow by one thread at a time.
class Flows {
 public:
  Flows() = default;
  explicit Flows(Fd map) : map_(std::move(map)) {}  // steer_flows

  // From here on the initiations of this source to `port` pass to the kernel, but for those that
  // come again within STEER_RETRY_NS. If its history is older than STEER_HISTORY_NS, it begins
  // again: a client that the kernel asked for a cookie is to pass with it, and not to be asked for
  // ours.
  absl::Status Note(const Endpoint& source, uint16_t port);
  // From here on they are steered. The history stays.
  absl::Status Forget(const Endpoint& source, uint16_t port);

 private:
  Fd map_;
};

}  // namespace wicket::xsk
