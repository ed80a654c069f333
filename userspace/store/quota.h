// How many bytes a peer may move in each period, and what it has used of them.
#pragma once

#include <cstdint>

#include "absl/time/time.h"

namespace wicket::store {

struct Session;

// Periods follow each other without a gap; the first begins with Unix time. So a period of a day is
// one of UTC.
struct Quota {
  static constexpr absl::Duration kPeriodMin = absl::Minutes(1);
  static constexpr absl::Duration kPeriodMax = absl::Hours(24 * 3650);

  uint64_t bytes = 0;                            // in both directions together; 0: no limit
  absl::Duration period = absl::Hours(24 * 30);  // whole seconds

  bool limits() const { return bytes > 0; }
  // The beginning of the period that `wall` is in.
  absl::Time BeginOf(absl::Time wall) const;
  absl::Time EndOf(absl::Time wall) const { return BeginOf(wall) + period; }

  friend bool operator==(const Quota&, const Quota&) = default;
};

// Since the current period was begun by BeginPeriod(); 0 before that. A clock that was set back, or
// a period that was made longer, stays in the one that was begun.
uint64_t UsedOf(const Quota& quota, const Session& session, absl::Time wall);
bool UsedUp(const Quota& quota, const Session& session, absl::Time wall);
// Begins a new period where one has begun. Returns: whether it did.
bool BeginPeriod(const Quota& quota, absl::Time wall, Session* session);

}  // namespace wicket::store
