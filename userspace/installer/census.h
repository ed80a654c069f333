// What a dump of the device says, and what follows from it. No I/O but reading a snapshot.
//
//   Begin   -> a walk over the device begins
//   Observe -> a peer of ours: alive? confirmed? moved? still stored?
//              a peer that we did not put there: stored, so adopted; revoked; or foreign
//   End     -> peers that somebody removed; peers to take out; the foreign peers
#pragma once

#include <memory>
#include <vector>

#include "installer/flow_change.h"
#include "installer/journal.h"
#include "installer/residents.h"
#include "intake/device_table.h"
#include "store/snapshot.h"
#include "wgdev/device.h"

namespace wicket::installer {

// Thread: one.
class Census {
 public:
  explicit Census(Journal* journal) : journal_(journal) {}

  // A peer whose time is over is refused at once, since what it sends comes through us from then
  // on. It leaves the device when it has been expired for this long without a step of the wall
  // clock: a clock that is wrong for a moment takes nobody's session.
  static constexpr absl::Duration kExpiredFor = absl::Seconds(30);

  void Begin(Residents* residents);
  void NoteClockStep(absl::Duration steady) { stepped_ = steady; }
  struct Finding {
    FlowChanges flows;
    bool outdated = false;   // adopted, and its settings are not those stored
    bool keepalive = false;  // it has a session, and its keepalive is to be set
  };
  // Requires: `snapshot` is renewed.
  Finding Observe(const wgdev::PeerStats& stats, const store::Snapshot& snapshot,
                  Residents* residents, absl::Duration steady, absl::Time wall);

  struct Outcome {
    std::vector<PublicKey> revoked;  // deleted from the store, and in the device
    bool swept = false;              // the first complete dump shows no revoked peer
    std::vector<PublicKey> foreign;  // seen in two dumps, and not stored
    FlowChanges flows;               // of peers that somebody else removed
  };
  // `foreign_max`: how many foreign peers to name at most.
  Outcome End(bool complete, Residents* residents, size_t foreign_max);
  // The device went away.
  void Clear();

  // A complete dump has shown the device since it came.
  bool swept() const { return swept_; }
  const intake::ForeignPeers& foreign() const { return *foreign_; }
  // A copy of foreign() when it has changed since the last call; else null.
  std::unique_ptr<intake::ForeignPeers> TakeForeign();
  void NoteDisowned(const PublicKey& key) { foreign_in_dump_.erase(key); }

 private:
  // Whether the store still wants the peer in the device.
  void CheckStored(const wgdev::PeerStats& stats, const store::Snapshot& snapshot,
                   const Endpoint& before, Residents* residents, absl::Duration steady,
                   absl::Time wall, FlowChanges* flows);
  Finding ObserveUnknown(const wgdev::PeerStats& stats, const store::Snapshot& snapshot,
                         Residents* residents, absl::Duration steady, absl::Time wall);
  Finding Adopt(const wgdev::PeerStats& stats, const store::Peer& stored,
                const store::Session& session, Residents* residents, absl::Duration steady,
                absl::Time wall);

  Journal* journal_;
  std::vector<PublicKey> revoked_;
  bool swept_ = false;
  absl::Duration stepped_ = -absl::InfiniteDuration();  // when the wall clock last did
  std::shared_ptr<const intake::ForeignPeers> foreign_ =
      std::make_shared<const intake::ForeignPeers>();
  intake::ForeignPeers foreign_in_dump_;
  bool foreign_changed_ = false;
};

}  // namespace wicket::installer
