// Keeps what is given back below what the other side can answer.
//
// A WireGuard implementation that sees too many handshakes waiting asks its clients for cookies,
// and ours do not count there. The kernel does so at 512 waiting handshakes of a device,
// wireguard-go at 128. The kernel's can be counted, and are kept below half of that. Where nobody
// tells how many wait, a burst stays far below, and the rate below what this machine answers.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "reinject/backlog.h"

namespace wicket::reinject {

// How fast one kind of packet may go: one an interval, and so many at once.
struct Pace {
  uint64_t interval_ns = 0;
  uint32_t burst = 1;
};

// A token bucket in nanoseconds, of which all who give back by time take their turns.
//
// Thread: any.
class TurnClock {
 public:
  // Returns: how many turns of `most` may be taken at `now_ns`. They are taken.
  uint32_t Take(const Pace& pace, uint32_t most, uint64_t now_ns);
  // Gives back turns that were taken and not used.
  void Return(const Pace& pace, uint32_t turns);

 private:
  std::atomic<uint64_t> last_ns_{0};
};

// How many packets may be given back to one device.
//
// Thread: one.
class Pacer {
 public:
  // `backend`: the device's, "netlink" or "uapi". `clock` is that of all devices and outlives this.
  // Cost: some 20 ms the first time, for it measures how fast this machine is.
  Pacer(absl::string_view backend, int ifindex, TurnClock* clock);

  // Returns: how many of `most` may be given back at `now_ns`.
  uint32_t Take(uint32_t most, uint64_t now_ns);
  // Says that so many of those just taken were not given back.
  void Return(uint32_t turns);

  // Why the device's waiting handshakes are not counted; OK when they are.
  const absl::Status& uncounted() const { return uncounted_; }

 private:
  TurnClock* clock_;
  Pace pace_;
  std::unique_ptr<Backlog> backlog_;
  absl::Status uncounted_;
  bool counted_ = false;  // at the last Take
};

}  // namespace wicket::reinject
