// Deletes expired peers, late enough that a wrong clock deletes nobody.
//
// An expired peer is refused at once, elsewhere. It is deleted when it has been expired for
// its grace of steady time in which the wall clock did not step:
//
//   step or start      first Tick           grace later
//   ----|------------------|---------------------|-------------> steady time
//       no deletions until here ................ | those expired at the first Tick, and from
//                                                  then on each that long after its expiry
//
// So a clock that is wrong for less than the grace deletes nobody: not one that an operator sets
// two days ahead, and not one that is wrong at boot. `[store] keep_expired` is the grace.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>

#include "absl/time/time.h"
#include "roster/roster.h"
#include "store/store.h"

namespace wicket::roster {

// Thread: one makes, ticks and destroys it.
class ExpiryCollector {
 public:
  static constexpr absl::Duration kGrace = absl::Minutes(10);
  static constexpr size_t kSliceMax = 256;  // peers deleted in one transaction, which others share
  static constexpr size_t kSlicesPerTick = 8;  // limits the burst of updates

  // Lifetime: all outlive it.
  ExpiryCollector(const store::Store* store, Roster* roster, absl::Duration grace = kGrace)
      : store_(store), roster_(roster), grace_(grace) {}
  // Waits for the transaction that is under way.
  ~ExpiryCollector();

  // The wall clock has stepped: the grace of all peers begins again at the next Tick.
  void NoteStep() { since_.reset(); }
  // Asks for the deletion of a bounded number of peers when there are any, unless the last
  // call's are still being deleted. Reads the store; waits for no commit and for no device.
  void Tick(absl::Duration steady, absl::Time wall);

 private:
  struct Look {
    absl::Duration steady;
    absl::Time wall;
  };

  std::optional<absl::Time> ExpiredBy(absl::Duration steady, absl::Time wall);
  bool AnyExpired(absl::Time by) const;
  void DeleteSlice(absl::Time expired_by, size_t slices);
  bool Deleted(const absl::StatusOr<size_t>& count);

  const store::Store* store_;
  Roster* roster_;
  const absl::Duration grace_;
  std::optional<Look> since_;  // the first Tick after the start or the last step
  std::mutex mutex_;
  std::condition_variable idle_;
  bool under_way_ = false;
  bool stopping_ = false;
  // Of the thread that has a transaction under way, and of Tick when there is none:
  size_t slice_ = 1;      // peers to delete in the next transaction
  bool failing_ = false;  // the last transaction failed, and the log has it
};

}  // namespace wicket::roster
