// The work of an installer between two batches, one bounded step at a time. Only the end of a dump
// looks at every peer.
#pragma once

#include <memory>

#include "installer/busiest.h"
#include "installer/census.h"
#include "installer/departures.h"
#include "installer/reconciler.h"
#include "installer/state.h"

namespace wicket::installer {

// Thread: one; but FillStatus() of busiest() from any.
class Upkeep {
 public:
  explicit Upkeep(State* state)
      : state_(state),
        census_(&state->journal, state->surroundings.saver),
        departures_(&state->journal),
        reconciler_(&state->hand, &state->residents, &state->journal,
                    state->surroundings.committer),
        busiest_(state->options.busiest_max) {}

  Census& census() { return census_; }
  Reconciler& reconciler() { return reconciler_; }
  const Busiest& busiest() const { return busiest_; }

  // Saves sessions and removes peers that leave. Then reads the next chunk of the dump; or, while
  // none is in progress, corrects peers and begins one that is due.
  // Requires: the device is there. Returns: false when it is gone.
  bool Step(Residents::Press press);
  // Asks the device for its key and port, but not too often: has_other_keys() then tells.
  // Requires: the device is there.
  // Returns:  false when it is too early to ask, or the device does not tell.
  // Errors:   NotFound when the device is gone.
  absl::StatusOr<bool> LookForOtherKeys();
  // The device appeared or went away: forgets what is known of its peers.
  void Clear();

  // Whether removals or corrections wait. A dump in progress does not count.
  bool busy() const { return departures_.waiting() || reconciler_.has_work(); }
  // When the last complete dump ended, in SteadyNanos(), 0 before the first.
  uint64_t dumped_ns() const { return dumped_ns_; }
  // Whether the device was dumped since it was found, as far as that is possible.
  bool surveyed() const { return surveyed_; }
  // Whether the device has another key or port than the known ones.
  bool has_other_keys() const { return has_other_keys_; }
  void ForgetOtherKeys() { has_other_keys_ = false; }

 private:
  void SaveSessions(absl::Duration steady);
  void LetLeave(absl::Duration steady, Residents::Press press);
  bool BeginDump(absl::Duration steady);
  bool StepDump();
  void FinishDump(bool complete);

  State* state_;
  Census census_;
  Departures departures_;
  Reconciler reconciler_;
  Busiest busiest_;
  absl::Duration next_save_, next_look_, next_dump_, dump_took_;
  uint64_t dumped_ns_ = 0;
  bool has_other_keys_ = false, surveyed_ = false;
  bool all_judged_ = true;  // of the dump at hand: the store could be read for each part
  const absl::Time made_ = WallNow();
};

}  // namespace wicket::installer
