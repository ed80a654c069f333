// The last quarter of an hour, a sample a second: what the page draws.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "document/status_text.h"

namespace wicket::report {

// X(name): figures of all devices and NICs together. Rates and sources are of the time since the
// sample before, latencies of the last ten to twenty seconds and the worst device or NIC, installed
// and unconfirmed as they are.
#define WICKET_HISTORY_FIGURES(X) \
  X(new_per_s)                    \
  X(confirmed_per_s)              \
  X(evicted_per_s)                \
  X(proven_per_s)                 \
  X(installed)                    \
  X(unconfirmed)                  \
  X(p50_ms)                       \
  X(p99_ms)                       \
  X(wait_p99_ms)                  \
  X(sources)

// In memory: empty after a start. Thread: one notes, any reads.
class History {
 public:
  static constexpr size_t kSamplesMax = 900;

  // `steady`: when `status` was made; its own time is the wall clock's, which may step.
  void Note(const document::Status& status, absl::Duration steady);
  // Samples from the number `from` on, the oldest first; all, when there are not as many:
  // {"next": NUMBER, "at": [MS...], "figures": {NAME: [...]}, "refused_per_s": {REASON: [...]}}.
  // Every list is as long as "at". A reason that is in no sample is left out. "next" is what to ask
  // for the next time.
  std::string ToJson(uint64_t from) const;

 private:
#define WICKET_HISTORY_ONE(name) +1
  static constexpr size_t kFigures = 0 WICKET_HISTORY_FIGURES(WICKET_HISTORY_ONE);
#undef WICKET_HISTORY_ONE
  struct Totals {
    uint64_t installs = 0, confirmed = 0, evictions = 0;
  };
  struct Sample {
    absl::Time at;
    std::array<double, kFigures> figures{};
    std::map<std::string, double> refused_per_s;
  };

  static Totals TotalsOf(const document::Status& status);

  std::optional<absl::Duration> noted_;
  Totals before_;
  mutable std::mutex mutex_;  // held to add a sample, or to copy pointers
  std::deque<std::shared_ptr<const Sample>> samples_;
  uint64_t next_ = 0;  // the number of the next sample
};

}  // namespace wicket::report
