// TAI64N labels, the timestamps inside handshake initiations.
#pragma once

#include <array>
#include <cstdint>

#include "absl/time/time.h"
#include "base/clock.h"

namespace wicket {

// 8 bytes of seconds (2^62 + TAI) and 4 of nanoseconds, big-endian, so that a later stamp compares
// greater byte by byte.
// Source: [WG 5.1]; like the kernel, adds 10 s to Unix time and ignores leap seconds.
using Tai64n = std::array<uint8_t, 12>;

// Requires: `time` is finite and not before 1970.
Tai64n ToTai64n(absl::Time time);
// Returns: absl::InfinitePast() or InfiniteFuture() for labels outside 1970..2554.
absl::Time FromTai64n(const Tai64n& stamp);

// The stamps that are remembered of a peer; guard/replay.h says how they are used.
struct StampMark {
  Tai64n bounded{};        // greatest accepted, each capped at the gateway's clock + 10 min
  Tai64n exact{};          // greatest accepted, uncapped
  Instant accepted;        // when the last was accepted; a default Instant: none was
  bool lowered = false;    // the last is `bounded`, below `exact`: the client's clock went back
  bool estimated = false;  // none was seen: drawn from the gateway's wall clock

  bool set() const { return accepted.wall != absl::UnixEpoch(); }
};

}  // namespace wicket
