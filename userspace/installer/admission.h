// Decides whether a proven initiation is let in, and how. No I/O.
//
//   demand + what store and device know of its peer --Judge--> refused, why | let in, how
//
// A new peer takes a probation slot until its session is confirmed. The first half of the slots is
// for everybody. The other half is reserved for senders that returned a cookie, and a source takes
// slots there only while it holds less than a quarter of what is still free. So each source that
// an attacker owns takes a fifth of the rest: to fill the default takes some 36 sources, and as
// many keys as there are slots. A peer in the device is never displaced.
#pragma once

#include <optional>
#include <vector>

#include "installer/journal.h"
#include "installer/options.h"
#include "installer/residents.h"
#include "intake/demand.h"
#include "reinject/mode.h"
#include "store/record.h"

namespace wicket::installer {

// The state of a demand's peer when the demand is judged.
struct Known {
  const Resident* resident = nullptr;       // null: not in the device
  const store::Peer* stored = nullptr;      // null: not stored for this device
  const store::Session* session = nullptr;  // the latest; of a peer that is not in the device
  bool foreign = false;                     // in the device, but put there by somebody else
};

struct Decision {
  bool install = false;    // put the peer into the device, or update it there
  bool reset = false;      // remove it first: the device must forget its newest stamp
  bool give_back = false;  // after the install, if there is one
  store::Session session;  // with the mark after this initiation
  // It may be a replay of one that passed us: the device decides. It is noted as a sign of life,
  // and no more.
  bool passed_us = false;
  std::optional<Count> refused;  // the reason; nothing is to be done then
};

// Thread: one.
class Admission {
 public:
  explicit Admission(Journal* journal) : journal_(journal) {}

  // Starts to count new peers for one batch, since those are not among the residents yet.
  void BeginBatch(const Options& options, const PublicKey& own_key);

  // Decides, and counts the decision.
  // `mode`: of the NIC that the demand arrived on.
  Decision Judge(const intake::Demand& demand, const Known& known, const Residents& residents,
                 reinject::Mode mode, const Instant& now, absl::Duration steady);

  // Returns: whether senders should be asked for a cookie: half of the slots are taken, or nearly.
  //          Senders in flight have no cookie yet, and would be refused silently at a full half.
  static bool Crowded(const Options& options, const Residents& residents);
  // Returns: whether a new peer was refused because the device is full, since the last call.
  bool TakePressed() { return std::exchange(pressed_, false); }

 private:
  std::optional<Count> Refusal(const intake::Demand& demand, const Known& known,
                               const store::Session& session, const Residents& residents,
                               reinject::Mode mode, const Instant& now, absl::Duration steady);
  std::optional<Count> NoRoom(const intake::Demand& demand, const Residents& residents);

  Journal* journal_;
  Options options_;
  PublicKey own_key_;
  size_t newcomers_ = 0;                 // new peers of this batch
  std::vector<Address> proven_sources_;  // of those that returned a cookie
  bool pressed_ = false;
};

}  // namespace wicket::installer
