// Rate-limits the packets given back to what the device can answer.
//
// A WireGuard implementation with a large handshake backlog counts as under load, and asks its
// clients for cookies; a cookie from the gateway is not valid there. The kernel does so when 512
// handshakes wait in a device, and then for a second in all its devices; wireguard-go does at 128.
// The kernel's backlog can be read, and is kept to about half of the threshold. Where the backlog
// is unknown, a token bucket limits a burst to half of the threshold, and the rate to less than
// this machine answers.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <utility>

#include "absl/functional/any_invocable.h"
#include "absl/strings/string_view.h"

namespace wicket::reinject {

// The parameters of a token bucket: one packet an interval, and `burst` at once.
// Requires: interval_ns >= 1.
struct Pace {
  uint64_t interval_ns = 0;
  uint32_t burst = 1;
};

// The pace for a device of this back end, "netlink" or "uapi", on this machine.
// Cost: some 20 ms on the first call, which measures a multiplication.
Pace PaceFor(absl::string_view backend);

// A token bucket, kept as a time in nanoseconds, that all devices share.
//
// Thread: any.
class TurnClock {
 public:
  // Returns: the turns available at `now_ns`.
  uint64_t Room(const Pace& pace, uint64_t now_ns) const;
  // Takes `turns` even when fewer are left. Room() reserves nothing: two devices may both spend
  // what Room() told each of them.
  void Charge(const Pace& pace, uint64_t turns, uint64_t now_ns);

 private:
  std::atomic<uint64_t> last_ns_{0};
};

// Limits how many packets may be given back to one device.
//
// Thread: one.
class Pacer {
 public:
  // Returns: the handshake backlog of the device, as Backlog::Waiting; nullopt: unknown.
  using Waiting = absl::AnyInvocable<std::optional<uint32_t>(uint64_t now_ns)>;

  // `by_time`: the pace that applies when by_time() is true. `clock` is shared by all devices and
  // outlives this.
  Pacer(Pace by_time, Waiting waiting, TurnClock* clock)
      : clock_(clock), pace_(by_time), waiting_(std::move(waiting)) {}

  // Returns: how many packets may be given back at `now_ns`.
  uint64_t Room(uint64_t now_ns);
  // Notes that `given_back` packets were, after the last Room().
  void Charge(uint64_t given_back, uint64_t now_ns);

  // Whether the last Room() used the token bucket: the backlog is unknown, or it has reached 512.
  // At 512 the device asks for cookies in any case, so holding packets back would gain nothing.
  bool by_time() const { return by_time_; }

 private:
  TurnClock* clock_;
  Pace pace_;
  Waiting waiting_;
  bool by_time_ = true;
  uint64_t slice_began_ns_ = 0, slice_given_ = 0;
};

}  // namespace wicket::reinject
