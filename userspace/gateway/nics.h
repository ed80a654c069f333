// The NICs of the configuration, which come, go and change.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gateway/nic.h"

namespace wicket::gateway {

// Thread: one.
class Nics {
 public:
  // What `context` points to outlives it.
  Nics(const std::vector<NicConfig>& configs, NicContext context);

  // Takes NICs that are there and serves them, and leaves those that changed. A NIC that cannot be
  // taken is tried again with each call.
  // `changed`: shards came or went. Errors: the first call only, and only what no later one could
  // mend: a right that is missing.
  absl::Status Tick(reinject::Mode reinject, bool* changed);
  // All NICs take the mode, or none does. Errors: names the NIC that cannot; the mode stays.
  absl::Status SetReinject(reinject::Mode before, reinject::Mode wanted);
  void DrainSightings(const std::vector<DeviceConfig>& devices);
  void Stop() { nics_.clear(); }

  uint64_t shards() const;
  std::vector<installer::NicRoute> routes() const;
  std::map<std::string, uint64_t> Verdicts() const;
  bool under_load() const;
  // Of a shard that has made no progress for longer than `silence`; empty: there is none.
  std::string SilentShard(absl::Duration silence) const;
  void FillStatus(document::Status* status) const;

 private:
  absl::Status Take(size_t index, reinject::Mode reinject);

  intake::VerdictCounters past_verdicts_;  // of shards that went away
  std::vector<bool> slots_used_ = std::vector<bool>(STEER_SLOTS_MAX);
  std::vector<std::string> problems_;
  bool ticked_ = false;
  std::vector<std::unique_ptr<Nic>> nics_;
};

}  // namespace wicket::gateway
