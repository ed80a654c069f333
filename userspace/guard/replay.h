// Refuses initiations that were seen before, also after the kernel has forgotten them.
//
// The kernel keeps a peer's greatest timestamp only while the peer is installed. Anybody that holds
// one old initiation of every customer could otherwise have each customer's peer installed, with an
// endpoint of the attacker's choice. So the gateway keeps a mark per peer. The mark is bounded, or
// one initiation sent under a wrong clock would lock its sender out until that time has come:
//
//  * A stamp later than the gateway's clock by more than 10 minutes is kept as now + 10 minutes, so
//    a client whose clock was corrected is accepted again after 10 minutes at most.
//  * The exact stamp is kept too. Between the bounded and the exact one a stamp is accepted only
//    once its time has come, and once the exact stamp's time has come nothing up to it is. So
//    neither the bound nor a gateway's clock that was behind makes a captured packet good again.
//    What is left: of several packets captured while a client's clock was ahead of ours, those
//    before the last may each be good once more when their time has come, until the last one's time
//    has come.
//  * A mark does not expire. A client whose clock was set back for good is let in by
//    `wicket peer reset-replay`.
#pragma once

#include "base/tai64n.h"

namespace wicket::guard {

inline constexpr absl::Duration kFutureMax = absl::Minutes(10);
inline constexpr absl::Duration kClockSkewMax = absl::Seconds(5);  // of a clock that is right
inline constexpr absl::Duration kHandshakeMax = absl::Seconds(5);  // [WG 6.1] REKEY_TIMEOUT

// Says whether `stamp` is new to a gateway that remembers `mark` at `now`.
[[nodiscard]] bool IsFresh(const StampMark& mark, const Tai64n& stamp, absl::Time now);

// The mark after accepting `stamp`.
// Requires: IsFresh(mark, stamp, now).
StampMark Accept(const StampMark& mark, const Tai64n& stamp, absl::Time now);

// True for stamps that Accept() bounds.
bool IsFromTheFuture(const Tai64n& stamp, absl::Time now);

// The mark after the gateway's clock stepped forwards. While it was behind, stamps of clients whose
// clocks were right looked like stamps from the future; none of them may become good again now.
// Requires: `mark` was accepted before the step.
StampMark AfterForwardStep(const StampMark& mark);

// The mark of an installed peer that made a handshake past us, with the kernel.
//
// The stamp of that handshake lies as long after the one that we accepted as the handshakes lie
// apart, by the client's clock, give or take what both spent on their way: kHandshakeMax at most,
// since a client that waits for longer makes another initiation. So the mark is set that much
// later. A client that comes within that time after a handshake, and is not in the kernel any more,
// is refused, and its retry kHandshakeMax later is accepted. (An attacker on the path that held the
// first initiation back for longer, and everything its sender made since, could still replay what
// the kernel accepted within that excess.)
//
// `elapsed`: from the accepted initiation to the handshake, by the steady clock. Within
// kHandshakeMax it is the handshake of that initiation, and the mark stays.
StampMark AdvanceBy(const StampMark& mark, absl::Duration elapsed, absl::Time now);

// The same for a peer whose handshakes nobody has watched: by the wall clock's time of the last
// one. A time that lies more than 10 minutes in the future is of a clock that was wrong, and
// advances nothing. A peer without a mark gets one from its handshake's time.
StampMark AdvanceTo(const StampMark& mark, absl::Time last_handshake, absl::Time now);

}  // namespace wicket::guard
