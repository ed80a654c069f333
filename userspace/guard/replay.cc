#include "guard/replay.h"

#include <algorithm>

namespace wicket::guard {
namespace {

// The mark as if our clock had been at its acceptance as right, or as wrong, as it is now.
StampMark Settle(StampMark mark, const Instant& now) {
  const absl::Duration step = mark.set() ? StepBetween(mark.accepted, now) : absl::ZeroDuration();
  if (step == absl::ZeroDuration()) return mark;
  const absl::Time before = mark.accepted.wall;
  mark.accepted.wall += step;
  if (mark.estimated) {
    // The exact stamp stays, for a step that was the error.
    mark.bounded = ToTai64n(std::max(FromTai64n(mark.bounded) + step, absl::UnixEpoch()));
    mark.exact = std::max(mark.exact, mark.bounded);
    mark.lowered = mark.bounded < mark.exact;
  } else if (step > absl::ZeroDuration() && !mark.lowered) {
    const absl::Time exact = FromTai64n(mark.exact);
    const bool explained = 2 * step >= exact - before;
    const absl::Time bound = std::min(exact, mark.accepted.wall + kFutureMax);
    mark.bounded = std::max(mark.bounded, explained ? mark.exact : ToTai64n(bound));
  }
  return mark;
}

}  // namespace

bool IsFromTheFuture(const Tai64n& stamp, absl::Time now) {
  return stamp > ToTai64n(now + kFutureMax);
}

bool IsFresh(const StampMark& mark, const Tai64n& stamp, const Instant& now) {
  if (!mark.set()) return true;
  const StampMark settled = Settle(mark, now);
  if (stamp <= settled.bounded || stamp == settled.exact) return false;
  if (stamp > settled.exact) return true;
  return settled.exact > ToTai64n(now.wall) && stamp <= ToTai64n(now.wall + kClockSkewMax);
}

StampMark Accept(const StampMark& mark, const Tai64n& stamp, const Instant& now) {
  const StampMark settled = Settle(mark, now);
  return {.bounded = std::max(settled.bounded, std::min(stamp, ToTai64n(now.wall + kFutureMax))),
          .exact = std::max(settled.exact, stamp),
          .accepted = now,
          .lowered = stamp < settled.exact};
}

StampMark AdvanceTo(const StampMark& mark, const Instant& handshake, const Instant& now) {
  const Instant by = handshake + kHandshakeMax;
  StampMark advanced = Settle(mark, now);
  absl::Time last = by.wall;
  if (mark.set()) {
    const absl::Duration elapsed = Elapsed(advanced.accepted, by);
    last = FromTai64n(advanced.lowered ? advanced.bounded : advanced.exact) + elapsed;
    if (elapsed <= absl::ZeroDuration() || last == absl::InfiniteFuture() ||
        last == absl::InfinitePast()) {
      return mark;
    }
  }
  // A client whose clock is ahead of ours is bounded, but not one whose clock was set back to ours.
  const absl::Time bound = advanced.lowered ? last : std::min(last, now.wall + kFutureMax);
  advanced.bounded = std::max(advanced.bounded, ToTai64n(bound));
  advanced.exact = std::max(advanced.exact, ToTai64n(last));
  advanced.accepted = by;
  advanced.lowered = advanced.lowered && ToTai64n(last) < advanced.exact;
  advanced.estimated |= !mark.set();
  return advanced;
}

}  // namespace wicket::guard
