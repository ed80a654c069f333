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
  double rate = 0;         // the highest that is borne; 0: none is known
  bool confirmed = false;  // by two further trials; if not, the rate may never have been tried
  std::string limit;       // why a higher rate failed, or was not tried; empty: neither
  bool generator = false;  // the generator failed there, not the endpoint
  std::vector<Trial> trials;
};

// Searches for the highest rate that keeps to `bounds`.
//
// Doubles the rate from options.pace.rate on until a trial of options.pace.duration fails, or 1e8
// is reached, which is not tried. Halves the interval between the last two rates until it is 5 %
// wide. Confirms the rate found with two further trials; each time one fails, the rate is lowered
// by a twentieth and confirmed again, but not below the first rate. A trial that the generator
// spoilt is repeated, at most twice. Where the mix has kNew or kCookie, each trial has new clients.
// If options.prepared is not 0, each trial prepares all its packets. pace.count_max is ignored.
// Calls `told` after each trial, but not after one that was stopped or that ran out of clients.
//
// Requires: options without replay, ramp_to and in_flight.
// Returns:  what was found, also when the clients run out or a trial has too many packets to
//           prepare, which `limit` says then, and when `ending` stops a trial.
// Errors:   those of Load::Make(), but for ResourceExhausted and OutOfRange: these end the search
//           as clients that run out do.
absl::StatusOr<FoundMax> FindMax(LoadOptions options, const Bounds& bounds, const Fleet* fleet,
                                 const Ending& ending,
                                 const std::function<void(const Trial&)>& told);

std::string ToJson(const FoundMax& found, const Bounds& bounds);

}  // namespace wicket::blast
