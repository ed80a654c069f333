// The highest rate that an endpoint bears.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/status.h"
#include "tools/blast/report.h"

namespace wicket::blast {

// The limits that an endpoint must keep to at a rate that it bears.
struct Bounds {
  double loss_max = 0.01;
  double p99_max_ms = 100;
};

struct Trial {
  double rate = 0;  // that the schedule asks for, packets a second
  double loss = 0, p50_ms = 0, p99_ms = 0;
  std::string failed;      // the reason; empty: the endpoint bears the rate
  bool generator = false;  // the generator failed, not the endpoint
};

struct FoundMax {
  double rate = 0;         // borne in every trial; 0: the first rate was not borne
  bool confirmed = false;  // by two further trials; false when the search was stopped
  std::string limit;       // why higher rates failed
  bool generator = false;  // the generator failed there, not the endpoint
  std::vector<Trial> trials;
};

// Searches for the highest rate that keeps to `bounds`.
//
// Doubles the rate from options.pace.rate on until a trial of options.pace.duration fails. Halves
// the interval between the last two rates until it is 5 % wide. Confirms the rate found with two
// further trials; each time one fails, the rate is lowered by a twentieth and confirmed again.
// A trial that the generator spoilt is repeated, at most twice. Each trial has new clients.
// Calls `told` after each trial.
//
// Returns: the rate found, also when the clients run out; `limit` says so then.
// Errors:  those of a load.
absl::StatusOr<FoundMax> FindMax(LoadOptions options, const Bounds& bounds, const Fleet* fleet,
                                 const Ending& ending,
                                 const std::function<void(const Trial&)>& told);

std::string ToJson(const FoundMax& found, const Bounds& bounds);

}  // namespace wicket::blast
