// The highest rate that an endpoint bears.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "tools/blast/report.h"

namespace wicket::blast {

// What an endpoint must keep to at a rate that it bears.
struct Bounds {
  double loss_max = 0.01;
  double p99_max_ms = 100;
};

struct Trial {
  double rate = 0;  // wanted
  double loss = 0, p50_ms = 0, p99_ms = 0;
  std::string failed;      // why; empty: the endpoint bears it
  bool generator = false;  // the generator failed, not the endpoint
};

struct FoundMax {
  double rate = 0;         // borne in every trial; 0: not even the first
  bool confirmed = false;  // twice more; false when it was stopped before
  std::string limit;       // what failed above it
  bool generator = false;
  std::vector<Trial> trials;
};

// Doubles the rate from options.pace.rate on until a trial of options.pace.duration fails, then
// halves what is between to 5 %, then asks twice more at the rate found, and a twentieth lower each
// time it fails. A trial that the generator spoilt is made again, at most twice. `told` is called
// after each trial. Each trial takes new clients.
// When the clients run out, `limit` says so.
// Errors: those of a load.
absl::StatusOr<FoundMax> FindMax(LoadOptions options, const Bounds& bounds, const Fleet* fleet,
                                 const Ending& ending,
                                 const std::function<void(const Trial&)>& told);

std::string ToJson(const FoundMax& found, const Bounds& bounds);

}  // namespace wicket::blast
