// The NICs of the configuration, which appear, disappear and change.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gateway/nic.h"

namespace wicket::gateway {

// Thread: one.
class Nics {
 public:
  // `context`: without `verdicts` and `slots_used`, which are set here. Lifetime: its pointers
  // outlive this.
  Nics(const std::vector<NicConfig>& configs, NicContext context);

  // Brings up NICs that are present, and takes down those that changed. A NIC that cannot be
  // brought up is tried again after half a second to four; one NIC at a time, each right after a
  // look has been answered, which wakes the caller. So this blocks on RTNL only if another process
  // takes it in the milliseconds between. The first call tries all without a look, since a gateway
  // that starts has nothing else to do. `changed`: set to true when shards were started or stopped.
  // Errors: from the first call only, and only PermissionDenied, which no later call could mend.
  absl::Status Tick(reinject::Mode reinject, bool* changed);
  // All NICs take the mode, or none does. Errors: that of a NIC that cannot; the mode stays.
  absl::Status SetReinject(reinject::Mode before, reinject::Mode wanted);
  void DrainSightings(const std::vector<DeviceConfig>& devices);

  uint64_t shards() const;
  std::vector<installer::NicRoute> routes() const;
  std::map<std::string, uint64_t> Verdicts() const;
  bool under_load() const;
  // The shards.
  void AddThreads(std::vector<document::ThreadStatus>* threads) const;
  const TaskClock& look_task() const { return watch_.task(); }
  void FillStatus(document::Status* status) const;

 private:
  // The last attempt to bring up a NIC, and when to try again.
  struct Trial {
    std::string problem;
    absl::Duration pause, next = -absl::InfiniteDuration();
  };

  absl::Status Take(size_t index, bool there, reinject::Mode reinject);

  intake::VerdictCounters past_verdicts_;  // of shards that are gone
  std::vector<bool> slots_used_ = std::vector<bool>(STEER_SLOTS_MAX);
  std::vector<Trial> trials_;
  bool ticked_ = false;
  uint64_t asked_ns_ = 0;          // when the last look was asked for
  bool waits_ = false;             // for its answer
  bool answered_ = true;           // the last questions about NICs
  bool forgets_older_ = false;     // with the next look: pins of older versions may be out of use
  std::unique_ptr<NicLook> look_;  // the latest
  NicWatch watch_;
  std::vector<std::unique_ptr<Nic>> nics_;  // end first: a look may wait for RTNL
};

}  // namespace wicket::gateway
