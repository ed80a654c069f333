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
//  * When the gateway's clock was stepped since the mark was made, the mark is judged as if the
//    clock had been right then, or as wrong as it is now. The clock of the boot tells the step,
//    also to a later process. While our clock was behind, correct stamps looked like stamps from
//    the future; none of them may become valid again. So a forward step that makes up for half of
//    a stamp's lead or more ends the bound. A smaller one does not: then it was the client's clock
//    that was wrong.
//  * A mark does not expire. `wicket peer reset-replay` readmits a client whose clock
//    was permanently set back.
#pragma once

#include "base/tai64n.h"

namespace wicket::guard {

inline constexpr absl::Duration kFutureMax = absl::Minutes(10);
inline constexpr absl::Duration kClockSkewMax = absl::Seconds(5);  // of a correct clock
inline constexpr absl::Duration kHandshakeMax = absl::Seconds(5);  // [WG 6.1] REKEY_TIMEOUT

// Returns: whether `stamp` is new to a gateway that remembers `mark` at `now`.
[[nodiscard]] bool IsFresh(const StampMark& mark, const Tai64n& stamp, const Instant& now);

// The mark after accepting `stamp`.
// Requires: IsFresh(mark, stamp, now).
StampMark Accept(const StampMark& mark, const Tai64n& stamp, const Instant& now);

// Returns: true for stamps that Accept() bounds.
bool IsFromTheFuture(const Tai64n& stamp, absl::Time now);

// The mark of an installed peer that made a handshake with the kernel, past the gateway, at
// `handshake` or shortly before.
//
// By the client's clock the stamps are as far apart as the two handshakes, give or take the delay
// of each. The delay is at most kHandshakeMax, since a client that waits longer makes another
// initiation. So the mark is advanced to kHandshakeMax after the handshake. A client that left the
// kernel and returns before that is refused once; its retry kHandshakeMax later is accepted. (An
// attacker on the path that delays the first initiation for longer, and everything its sender made
// since, could still replay what the kernel accepted within that excess.)
//
// A peer without a mark gets an estimate from the gateway's wall clock. When that is stepped, the
// estimate follows.
//
// Requires: `handshake` is not after `now`.
StampMark AdvanceTo(const StampMark& mark, const Instant& handshake, const Instant& now);

}  // namespace wicket::guard
