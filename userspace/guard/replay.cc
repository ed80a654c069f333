#include "guard/replay.h"

#include <algorithm>

namespace wicket::guard {
namespace {

bool IsSet(const StampMark& mark) { return mark.accepted != absl::UnixEpoch(); }

}  // namespace

bool IsFromTheFuture(const Tai64n& stamp, absl::Time now) {
  return stamp > ToTai64n(now + kFutureMax);
}

bool IsFresh(const StampMark& mark, const Tai64n& stamp, absl::Time now) {
  if (!IsSet(mark) || now - mark.accepted > kMarkLifetime) return true;
  if (stamp <= mark.bounded || stamp == mark.exact) return false;
  return stamp > mark.exact || stamp <= ToTai64n(now + kClockSkewMax);
}

StampMark Accept(const StampMark& mark, const Tai64n& stamp, absl::Time now) {
  const bool expired = IsSet(mark) && now - mark.accepted > kMarkLifetime;
  const StampMark before = expired ? StampMark{} : mark;
  return {.bounded = std::max(before.bounded, std::min(stamp, ToTai64n(now + kFutureMax))),
          .exact = std::max(before.exact, stamp),
          .accepted = now};
}

StampMark AdvanceTo(const StampMark& mark, absl::Time last_handshake) {
  if (!IsSet(mark) || last_handshake <= mark.accepted) return mark;
  const absl::Time stamped = FromTai64n(mark.exact);
  if (stamped == absl::InfiniteFuture() || stamped == absl::InfinitePast()) return mark;
  const Tai64n last = ToTai64n(stamped + (last_handshake - mark.accepted) + kHandshakeMax);
  return {.bounded = std::max(mark.bounded, std::min(last, ToTai64n(last_handshake + kFutureMax))),
          .exact = std::max(mark.exact, last),
          .accepted = last_handshake};
}

}  // namespace wicket::guard
