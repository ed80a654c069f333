// Keeps what is given back below what the other side can answer.
//
// A WireGuard implementation that sees too many handshakes waiting asks its clients for cookies,
// and ours do not count there. The kernel does so when 512 handshakes wait in a device, and for a
// second after, in all of its devices; wireguard-go does when 128 wait. The kernel's can be
// counted, and are kept below half of that. Where nobody tells how many wait, a burst stays far
// below, and the rate below what this machine answers.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"

namespace wicket::reinject {

// How fast one kind of packet may go: one an interval, and so many at once.
struct Pace {
  uint64_t interval_ns = 0;
  uint32_t burst = 1;
};

// How fast a device of this back end, "netlink" or "uapi", should answer on this machine.
// Cost: some 20 ms the first time, when it is measured how fast that is.
Pace PaceFor(absl::string_view backend);

// A token bucket in nanoseconds, of which all who give back by time take their turns.
//
// Thread: any.
class TurnClock {
 public:
  // Returns: how many turns there are at `now_ns`.
  uint64_t Room(const Pace& pace, uint64_t now_ns) const;
  // Takes turns, be they there or not. Two that ask at once may each take what both were told of.
  void Charge(const Pace& pace, uint64_t turns, uint64_t now_ns);

 private:
  std::atomic<uint64_t> last_ns_{0};
};

// How many packets may be given back to one device.
//
// Thread: one.
class Pacer {
 public:
  // Returns: how many handshakes wait in the device, as Backlog::Waiting; nullopt: unknown.
  using Waiting = absl::AnyInvocable<std::optional<uint32_t>(uint64_t now_ns)>;

  // `by_time`: the pace while that is unknown, and from 512 on, see by_time(). `clock` is that of
  // all devices and outlives this.
  Pacer(Pace by_time, Waiting waiting, TurnClock* clock)
      : clock_(clock), pace_(by_time), waiting_(std::move(waiting)) {}

  // Returns: how many may be given back at `now_ns`.
  uint64_t Room(uint64_t now_ns);
  // Says that so many were.
  void Charge(uint64_t given_back, uint64_t now_ns);

  // Whether Room() went by time at last: nothing is known of the device, or so many wait that it
  // asks for cookies already, and who is kept from it gains nothing.
  bool by_time() const { return by_time_; }

 private:
  TurnClock* clock_;
  Pace pace_;
  Waiting waiting_;
  bool by_time_ = true;
  uint64_t slice_began_ns_ = 0, slice_given_ = 0;
};

}  // namespace wicket::reinject
