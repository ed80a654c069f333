#include "guard/replay.h"

#include <algorithm>

namespace wicket::guard {
namespace {

bool IsSet(const StampMark& mark) { return mark.accepted != absl::UnixEpoch(); }

// The mark as if an unseen stamp of the time `last` had been accepted at `now`.
StampMark AcceptUnseen(const StampMark& mark, absl::Time last, absl::Time now) {
  return {.bounded = std::max(mark.bounded, ToTai64n(std::min(last, now + kFutureMax))),
          .exact = std::max(mark.exact, ToTai64n(last)),
          .accepted = now};
}

}  // namespace

bool IsFromTheFuture(const Tai64n& stamp, absl::Time now) {
  return stamp > ToTai64n(now + kFutureMax);
}

bool IsFresh(const StampMark& mark, const Tai64n& stamp, absl::Time now) {
  if (!IsSet(mark)) return true;
  if (stamp <= mark.bounded || stamp == mark.exact) return false;
  if (stamp > mark.exact) return true;
  return mark.exact > ToTai64n(now) && stamp <= ToTai64n(now + kClockSkewMax);
}

StampMark Accept(const StampMark& mark, const Tai64n& stamp, absl::Time now) {
  return {.bounded = std::max(mark.bounded, std::min(stamp, ToTai64n(now + kFutureMax))),
          .exact = std::max(mark.exact, stamp),
          .accepted = now};
}

StampMark AfterForwardStep(const StampMark& mark, absl::Time now) {
  const bool doubtful = mark.exact > ToTai64n(now + kStillBehindMax);
  return {.bounded = doubtful ? mark.bounded : mark.exact,
          .exact = mark.exact,
          .accepted = mark.accepted};
}

StampMark AdvanceBy(const StampMark& mark, absl::Duration elapsed, absl::Time now) {
  if (!IsSet(mark) || elapsed <= absl::ZeroDuration()) return mark;
  const absl::Time stamped = FromTai64n(mark.exact);
  if (stamped == absl::InfiniteFuture() || stamped == absl::InfinitePast()) return mark;
  return AcceptUnseen(mark, stamped + elapsed + kHandshakeMax, now);
}

StampMark AdvanceTo(const StampMark& mark, absl::Time last_handshake, absl::Time now) {
  if (last_handshake == absl::UnixEpoch() || last_handshake > now + kFutureMax) return mark;
  last_handshake = std::min(last_handshake, now);
  if (!IsSet(mark)) return AcceptUnseen(mark, last_handshake + kHandshakeMax, last_handshake);
  return AdvanceBy(mark, last_handshake - mark.accepted, last_handshake);
}

}  // namespace wicket::guard
