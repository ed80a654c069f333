// Whether the device is there, and which key and port it has.
//
// The key and port of a device change without a notification, so the installer polls. A call may
// block until its time-out, so polling happens on the thread that owns the device, and the gateway
// takes what was found.
#pragma once

#include <memory>
#include <string>

#include "absl/time/time.h"
#include "base/handoff.h"
#include "crypto/curve25519.h"
#include "installer/hand.h"
#include "noise/identity.h"
#include "wgdev/device.h"

namespace wicket::installer {

struct FoundDevice {
  int ifindex = 0;  // 0: the device is away
  PublicKey public_key;
  uint16_t port = 0;
  std::string backend;
  std::shared_ptr<const crypto::Locked<noise::Identity>> identity;  // null: away
  std::string problem;  // why it is away; empty: not known yet
};

// Thread: one; but Take() from one other.
class Presence {
 public:
  // `hand` outlives it.
  explicit Presence(Hand* hand) : hand_(hand) {}

  // Whether it is time for another look: four times a second, and at most half of the time.
  bool Due(absl::Duration steady) const { return steady >= next_look_; }
  // Whether the device that was found is still the one of its name. Waits for nobody.
  bool StillThere();
  // Opens the device, and reads its key and port for found() and Take().
  // Errors: of the call that failed; FailedPrecondition for a device without a key or port;
  //         ResourceExhausted: its key cannot be locked into memory. Each is logged once.
  absl::StatusOr<std::unique_ptr<wgdev::Device>> Read(wgdev::Backend backend);
  // The device is away.
  void Lose();

  const FoundDevice& found() const { return found_; }
  // Returns: what was found, if that has changed since the last call; else null.
  std::unique_ptr<FoundDevice> Take() { return changed_.Take(); }

 private:
  absl::StatusOr<std::unique_ptr<wgdev::Device>> Open(wgdev::Backend backend);

  Hand* hand_;
  FoundDevice found_;
  Handoff<FoundDevice> changed_;
  std::string last_problem_;
  absl::Duration next_look_ = -absl::InfiniteDuration();
};

}  // namespace wicket::installer
