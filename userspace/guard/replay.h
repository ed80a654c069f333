// Refuses replayed initiations, even after the kernel has forgotten them.
//
// The kernel keeps a peer's greatest timestamp only while the peer is installed. An attacker with
// one old initiation of every customer could otherwise have each customer's peer installed, with an
// endpoint of the attacker's choice. So the gateway keeps a mark per peer. The mark is bounded:
// otherwise one initiation sent under a wrong clock would lock its sender out until that time.
//
//  * A stamp more than 10 minutes ahead of the gateway's clock is kept as now + 10 minutes. So a
//    client that corrects its clock is accepted again after at most 10 minutes.
//  * The exact stamp is kept as well. A stamp between the bounded and the exact one is accepted
//    only once its time has come, and none is once the time of the exact stamp has come. So neither
//    the bound nor a gateway's clock that was behind makes a captured packet valid again.
//    One gap is left. Of several packets captured while a client's clock was ahead of ours, each
//    before the last may be valid once more, from its own time until the time of the last one.
//  * A mark does not expire. `wicket peer reset-replay` readmits a client whose clock
//    was permanently set back.
#pragma once

#include "base/tai64n.h"

namespace wicket::guard {

inline constexpr absl::Duration kFutureMax = absl::Minutes(10);
inline constexpr absl::Duration kStillBehindMax = absl::Hours(48);
inline constexpr absl::Duration kClockSkewMax = absl::Seconds(5);  // of a correct clock
inline constexpr absl::Duration kHandshakeMax = absl::Seconds(5);  // [WG 6.1] REKEY_TIMEOUT

// Returns: whether `stamp` is new to a gateway that remembers `mark` at `now`.
[[nodiscard]] bool IsFresh(const StampMark& mark, const Tai64n& stamp, absl::Time now);

// The mark after accepting `stamp`.
// Requires: IsFresh(mark, stamp, now).
StampMark Accept(const StampMark& mark, const Tai64n& stamp, absl::Time now);

// Returns: true for stamps that Accept() bounds.
bool IsFromTheFuture(const Tai64n& stamp, absl::Time now);

// The mark after the gateway's clock stepped forwards. While it was behind, correct stamps looked
// like stamps from the future; none of them may become valid again, also when the clock is still
// behind after the step. Only a stamp beyond kStillBehindMax is taken for that of a client whose
// own clock is wrong, and stays bounded. Known gap: a client whose clock was ahead by less than
// that is refused until then, if our clock steps forwards after the client was corrected. `now`:
// after the step. Requires: `mark` was accepted before the step.
StampMark AfterForwardStep(const StampMark& mark, absl::Time now);

// The mark of an installed peer that made a handshake with the kernel, past the gateway.
//
// By the client's clock the stamps are as far apart as the two handshakes, give or take the delay
// of each. The delay is at most kHandshakeMax, since a client that waits longer makes another
// initiation. So the mark is advanced by the distance plus kHandshakeMax. A client that left the
// kernel and returns within that time of a handshake is refused once; its retry kHandshakeMax later
// is accepted. (An attacker on the path that delays the first initiation for longer, and everything
// its sender made since, could still replay what the kernel accepted within that excess.)
//
// `elapsed`: from the accepted initiation to the handshake, by the steady clock.
StampMark AdvanceBy(const StampMark& mark, absl::Duration elapsed, absl::Time now);

// The same for a peer whose handshakes were not watched, from the wall-clock time of the last one.
// A time more than 10 minutes ahead of `now` is from a wrong clock, and advances nothing. A peer
// without a mark gets one from the time of its handshake. Known gap: while our own clock is ahead,
// so are the handshake's time and the mark.
StampMark AdvanceTo(const StampMark& mark, absl::Time last_handshake, absl::Time now);

}  // namespace wicket::guard
