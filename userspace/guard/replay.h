// Refuses initiations that were seen before, also after the kernel has forgotten them.
//
// The kernel keeps a peer's greatest timestamp only while the peer is installed.
// Whoever holds one old initiation of every customer could otherwise have each of
// them installed, with an endpoint of his choosing, for as long as he likes. So
// the gateway remembers a mark per peer. The mark is bounded, or one initiation
// sent under a wrong clock would lock its sender out until that time has come:
//
//  * A stamp later than the gateway's clock by more than 10 minutes is
//    remembered as now + 10 minutes, so a corrected clock is believed again
//    after 10 minutes at most.
//  * A stamp that does not exceed the greatest exact one is believed only once
//    its time has come, so that the bound does not make a captured packet from the
//    future good again. What is left: of several packets captured while a
//    client's clock was ahead, those before the last may each be good once more
//    when their time has come, if the client has not connected since.
//  * After 30 days without an initiation the mark expires.
#pragma once

#include "base/tai64n.h"

namespace wicket::guard {

inline constexpr absl::Duration kFutureMax = absl::Minutes(10);
inline constexpr absl::Duration kClockSkewMax = absl::Seconds(5);  // of a clock that is right
inline constexpr absl::Duration kMarkLifetime = absl::Hours(24 * 30);
inline constexpr absl::Duration kHandshakeMax = absl::Seconds(5);  // [WG 6.1] REKEY_TIMEOUT

// Says whether `stamp` is news to a gateway that remembers `mark` at `now`.
[[nodiscard]] bool IsFresh(const StampMark& mark, const Tai64n& stamp, absl::Time now);

// The mark after accepting `stamp`.
// Requires: IsFresh(mark, stamp, now).
StampMark Accept(const StampMark& mark, const Tai64n& stamp, absl::Time now);

// True for stamps that Accept() bounds.
bool IsFromTheFuture(const Tai64n& stamp, absl::Time now);

// The mark of a peer that is no longer in the kernel.
//
// Initiations of known flows reach the kernel without passing us; the last one
// it accepted lies as long after ours as its handshake does, by the client's
// clock, give or take what the two had spent on their way: kHandshakeMax at most,
// since a client that waits longer has made another one. So the mark is set that much
// later. Who comes within that time after a handshake, and is not in the kernel any
// more, is refused, and tries again kHandshakeMax later. (Somebody on the path who held
// the first back for longer, and everything its sender made since, could still replay
// what the kernel accepted within that excess.) Both times are the gateway's
// wall clock; a step of it in between is bounded as everything else is.
StampMark AdvanceTo(const StampMark& mark, absl::Time last_handshake);

}  // namespace wicket::guard
