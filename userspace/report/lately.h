// How much counts have grown in the last ten minutes: a trouble that is over is told of no more.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "document/status_text.h"

namespace wicket::report {

// Thread: one.
class Lately {
 public:
  static constexpr absl::Duration kSpan = absl::Minutes(10);

  // Sets the fields called lately. To be called with each status, at least once a minute.
  void Fill(document::Status* status, absl::Duration steady);

 private:
  uint64_t Growth(const std::string& name, uint64_t count, absl::Duration steady);

  using Sample = std::pair<absl::Duration, uint64_t>;  // a time, and the count then
  std::map<std::string, std::deque<Sample>>
      samples_;  // one a minute, the first of each since kSpan
};

}  // namespace wicket::report
