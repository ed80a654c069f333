// A batch of demands: gathered, judged, installed, and given back.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "installer/admission.h"
#include "installer/census.h"
#include "installer/returner.h"
#include "installer/state.h"
#include "intake/demand_queues.h"

namespace wicket::installer {

// Thread: one.
class Batch {
 public:
  // `census` outlives it.
  Batch(State* state, const Census* census)
      : state_(state), census_(census), admission_(&state->journal), returner_(&state->journal) {
    pending_.reserve(kMax);
  }

  intake::DemandQueues& queues() { return queues_; }
  const intake::DemandQueues& queues() const { return queues_; }
  Admission& admission() { return admission_; }
  Returner& returner() { return returner_; }

  // Drops demands so old that their clients try again. Also called while there is no room, since
  // the queues are for clients that still wait.
  void DropLate();
  // Takes demands from the queues, as many as the device has room for, and judges them. Of several
  // initiations of a peer the newest that is let in counts: the client has forgotten the others.
  // Drops all demands
  // while the device is away.
  // Returns: the number of demands in the batch.
  size_t Gather();
  // Installs the peers that were let in, and gives their packets back.
  // Requires: the device is there.
  // Returns: false when the device is gone.
  bool Run();

 private:
  static constexpr size_t kMax = 64;
  struct Pending {
    intake::Demand demand;
    Decision decision;
    std::optional<store::Peer> stored;
    bool ready = false;  // in the device: give the packet back
  };

  void Judge(Pending* pending, const Instant& now, absl::Duration steady);
  void TellRefused(const intake::Demand& demand, Count why);
  bool Install();
  void NoteInstalled(const Pending& pending, absl::Duration steady);
  void GiveBack(Pending* pending);

  State* state_;
  const Census* census_;
  intake::DemandQueues queues_;
  Admission admission_;
  Returner returner_;
  std::vector<Pending> pending_;
  uint64_t told_ns_ = 0;              // when a failed install was last logged
  uint64_t snapshot_generation_ = 0;  // of the saver, when the snapshot was renewed
};

}  // namespace wicket::installer
