// What is refused, how fast, and from how many: an attack as an operator sees it.
#pragma once

#include <map>
#include <string>

#include "absl/time/time.h"
#include "document/status_text.h"
#include "event/event_log.h"

namespace wicket::report {

// Thread: one.
class Defence {
 public:
  explicit Defence(event::EventLog* events) : events_(events) {}

  // To be called once a second, with the counters and verdicts so far, whether a shard is under
  // load, how many sources were refused since the last call, and the recent p99 of installs.
  void Note(absl::Duration steady, const std::map<std::string, uint64_t>& steering,
            const std::map<std::string, uint64_t>& verdicts, bool under_load, uint64_t sources,
            double install_p99_ms);

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
