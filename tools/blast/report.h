// The figures of a load: a table, JSON, and a percentile file.
#pragma once

#include <ostream>
#include <string>

#include "tools/blast/load.h"

namespace wicket::blast {

// The counts of all threads together. See Counts.
struct Summary {
  uint64_t sent[kKinds] = {}, answered[kKinds] = {};
  // answered_total: verified responses. wanted: first attempts that want an answer.
  uint64_t sent_total = 0, answered_total = 0, wanted = 0;
  uint64_t lost = 0, unverified = 0, unexpected = 0, cookies = 0, send_errors = 0, no_room = 0,
           exhausted = 0;
  uint64_t retried = 0, replayed = 0, responses = 0, pinged = 0, ponged = 0;
  uint64_t unexpected_cookies = 0, overrun = 0;
  // An upper bound of the clients that have come: the busiest thread's times the threads.
  uint64_t clients = 0;
  double seconds = 0;  // the longest Counts::sending_ns
  double busy = 0;     // the share of its sending_ns that the busiest thread did not wait
  Histogram latency, usable, lateness;

  // Packets a second that the schedule asked for and that left, or were refused. Retries do not
  // count: they follow from the target's silence.
  double Rate() const {
    return seconds > 0 ? static_cast<double>(sent_total - retried - no_room) / seconds : 0;
  }
  double Loss() const {
    return wanted ? 1 - static_cast<double>(answered_total) / static_cast<double>(wanted) : 0;
  }
};
// Requires: the load has ended; `summary` is new.
void Summarize(const std::vector<const Counts*>& counts, Summary* summary);

// Returns: why the figures describe the generator and not the target; empty: they do not.
std::string GeneratorWasTheLimit(const Summary& summary, const LoadOptions& options);

void PrintTable(const Summary& summary, const LoadOptions& options, std::ostream& out);
std::string ToJson(const Summary& summary, const LoadOptions& options);
// Writes HdrHistogram's percentile format, in milliseconds.
void WriteHdr(const Histogram& histogram, std::ostream& out);

}  // namespace wicket::blast
