// TAI64N labels, the timestamps inside handshake initiations.
#pragma once

#include <array>
#include <cstdint>

#include "absl/time/time.h"

namespace wicket {

// 8 bytes of seconds (2^62 + TAI) and 4 of nanoseconds, big endian, so that
// later stamps compare greater byte by byte.
// Source: [WG 5.1]; the kernel adds 10 s to Unix time and leaps are ignored.
using Tai64n = std::array<uint8_t, 12>;

Tai64n ToTai64n(absl::Time time);
// Returns: absl::InfinitePast() or InfiniteFuture() for labels outside 1970..2554.
absl::Time FromTai64n(const Tai64n& stamp);

// What is remembered of a peer's stamps; guard/replay.h says how it is used.
struct StampMark {
  Tai64n bounded{};  // greatest accepted, none taken for later than the gateway's clock + 10 min
  Tai64n exact{};    // greatest accepted, as it was
  absl::Time accepted = absl::UnixEpoch();  // when, by the gateway's clock; UnixEpoch: never
};

}  // namespace wicket
