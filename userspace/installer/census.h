// Interprets dumps of the device. No I/O except reads of a snapshot, and the log.
//
//   Begin   -> a dump of the device begins
//   Observe -> a resident: alive? confirmed? roamed? still stored?
//              any other peer: stored, so it is adopted; or revoked; or foreign
//   End     -> peers that somebody removed; peers to remove; the foreign peers
#pragma once

#include <memory>
#include <vector>

#include "installer/flow_change.h"
#include "installer/journal.h"
#include "installer/residents.h"
#include "installer/session_saver.h"
#include "intake/device_table.h"
#include "store/snapshot.h"
#include "wgdev/device.h"

namespace wicket::installer {

// Thread: one.
class Census {
 public:
  // `saver`: knows sessions that are newer than the stored ones; null: there are none.
  explicit Census(Journal* journal, const SessionSaver* saver = nullptr)
      : journal_(journal), saver_(saver) {}

  // An expired peer is refused at once, since its packets come to us from then on. It leaves the
  // device after it has been expired for this long without a step of the wall clock, so a clock
  // that is wrong for a moment ends no session.
  static constexpr absl::Duration kExpiredFor = absl::Seconds(30);

  void Begin(Residents* residents);
  void NoteClockStep(absl::Duration steady) { stepped_ = steady; }
  struct Finding {
    FlowChanges flows;
    bool outdated = false;   // adopted with settings that differ from the stored ones
    bool keepalive = false;  // it has a session, and its keepalive is to be set
  };
  // Requires: `snapshot` is renewed.
  Finding Observe(const wgdev::PeerStats& stats, const store::Snapshot& snapshot,
                  Residents* residents, absl::Duration steady, const Instant& now);

  struct Outcome {
    std::vector<PublicKey> revoked;  // deleted from the store, but still in the device
    bool swept = false;              // this is the first complete dump without a revoked peer
    std::vector<PublicKey> foreign;  // in two dumps, and not stored for this device
    FlowChanges flows;               // of peers that somebody else removed
  };
  // `foreign_max`: the limit of Outcome::foreign.
  Outcome End(bool complete, Residents* residents, size_t foreign_max);
  // The device went away: its next dump begins a new sweep. The foreign peers stay known until
  // then.
  void Clear();

  // Whether the device, since it came, had a complete dump without a revoked peer.
  bool swept() const { return swept_; }
  // Lifetime: until the next End().
  const intake::ForeignPeers& foreign() const { return *foreign_; }
  // Returns: a copy of foreign() when it has changed since the last call; else null.
  std::unique_ptr<intake::ForeignPeers> TakeForeign();

 private:
  // Decides whether the store still wants the peer in the device.
  void CheckStored(const wgdev::PeerStats& stats, const store::Snapshot& snapshot,
                   const Endpoint& before, Residents* residents, absl::Duration steady,
                   absl::Time wall, FlowChanges* flows);
  Finding ObserveUnknown(const wgdev::PeerStats& stats, const store::Snapshot& snapshot,
                         Residents* residents, absl::Duration steady, const Instant& now);
  Finding Adopt(const wgdev::PeerStats& stats, const store::Peer& stored,
                const store::Session& session, Residents* residents, absl::Duration steady,
                const Instant& now);

  Journal* journal_;
  const SessionSaver* saver_;
  std::vector<PublicKey> revoked_;
  bool swept_ = false;
  absl::Duration stepped_ = -absl::InfiniteDuration();  // when the wall clock last stepped
  std::shared_ptr<const intake::ForeignPeers> foreign_ =
      std::make_shared<const intake::ForeignPeers>();
  intake::ForeignPeers foreign_in_dump_;
  bool foreign_changed_ = false;
};

}  // namespace wicket::installer
