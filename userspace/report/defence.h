// What is refused, how fast, and from how many: an attack as an operator sees it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "document/status_text.h"
#include "event/event_log.h"

namespace wicket::report {

// The counts of installers that are refusals. Their senders have proven their keys, so these are no
// attack: the gateway is full, for one.
const std::vector<std::string>& TurnedAway();

// Thread: one.
class Defence {
 public:
  explicit Defence(event::EventLog* events) : events_(events) {}

  // To be called once a second, with the counts of `status`, whether a shard is under load, and how
  // many sources were refused since the last call.
  void Note(absl::Duration steady, const document::Status& status, bool under_load,
            uint64_t sources);

  const document::DefenceStatus& status() const { return status_; }

 private:
  event::EventLog* events_;
  document::DefenceStatus status_;
  std::map<std::string, uint64_t> before_;
  absl::Duration noted_ = -absl::InfiniteDuration();
  absl::Duration attacked_ = -absl::InfiniteDuration();  // last
  absl::Duration told_ = -absl::InfiniteDuration();
};

}  // namespace wicket::report
