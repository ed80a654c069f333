// Decides what becomes of a proven initiation. No I/O.
//
//   demand + what the store and the device know of its peer --Judge--> refused, why | let in, how
//
// A newcomer takes a probation slot until its session is confirmed. Anybody may take the first half
// of the slots. The other half is for senders that returned a cookie, and one source may take a
// quarter of what is free there: so what is left shrinks by a quarter with each source that an
// attacker owns, and it takes some 36 sources, and as many keys as there are slots, to fill the
// default. A peer in the device is never displaced.
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

// What is known of a demand's peer when it is judged.
struct Known {
  const Resident* resident = nullptr;       // null: not in the device
  const store::Peer* stored = nullptr;      // null: not stored for this device
  const store::Session* session = nullptr;  // stored; of a peer that is not in the device
  bool foreign = false;                     // in the device, put there by somebody else
};

struct Decision {
  bool install = false;    // into the device, or once more
  bool reset = false;      // take it out first: the device must forget a stamp from the future
  bool give_back = false;  // once it is installed, if it is to be
  store::Session session;  // with the mark after this initiation
  std::optional<Count> refused;  // why; then all else is as it was made
};

// Thread: one.
class Admission {
 public:
  explicit Admission(Journal* journal) : journal_(journal) {}

  // From here on newcomers are counted for one batch; what they were let into is not yet among the
  // residents.
  void BeginBatch(const Options& options, const PublicKey& own_key);

  // Counts what it decides.
  // `mode`: of the NIC that the demand came by. `forward_step`: the wall clock after it last
  // stepped forwards; InfinitePast: it did not.
  Decision Judge(const intake::Demand& demand, const Known& known, const Residents& residents,
                 reinject::Mode mode, absl::Time wall, absl::Duration steady,
                 absl::Time forward_step);

  // Whether senders should be asked for a cookie: half of the slots are taken, or nearly. Some are
  // on their way without one, and would be refused silently if all of that half were taken.
  static bool Crowded(const Options& options, const Residents& residents);
  // A newcomer was refused for want of room since the last call.
  bool TakePressed() { return std::exchange(pressed_, false); }

 private:
  std::optional<Count> Refusal(const intake::Demand& demand, const Known& known,
                               const StampMark& mark, const Residents& residents,
                               reinject::Mode mode, absl::Time wall, absl::Duration steady);
  std::optional<Count> NoRoom(const intake::Demand& demand, const Residents& residents);

  Journal* journal_;
  Options options_;
  PublicKey own_key_;
  size_t newcomers_ = 0;                 // let in by this batch
  std::vector<Address> proven_sources_;  // those of its newcomers that returned a cookie
  bool pressed_ = false;
};

}  // namespace wicket::installer
