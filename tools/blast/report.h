// What a load found out, as a table, as JSON, and as a percentile file.
#pragma once

#include <ostream>
#include <string>

#include "tools/blast/load.h"

namespace wicket::blast {

// The counts of all threads together.
struct Summary {
  uint64_t sent[kKinds] = {}, answered[kKinds] = {};
  uint64_t sent_total = 0, answered_total = 0, wanted = 0;  // wanted: sent and due an answer
  uint64_t lost = 0, unverified = 0, unexpected = 0, cookies = 0, send_errors = 0, no_room = 0,
           exhausted = 0;
  uint64_t retried = 0, replayed = 0, responses = 0, pinged = 0, ponged = 0;
  uint64_t unexpected_cookies = 0, overrun = 0;
  uint64_t clients = 0;  // that have come, or may have: of each thread as many as of the busiest
  double seconds = 0;    // of sending
  double busy = 0;       // the share of them that the busiest thread spent working
  Histogram latency, usable, lateness;

  // Of what the schedule asked for: retries follow from the target's silence.
  double Rate() const {
    return seconds > 0 ? static_cast<double>(sent_total - retried - no_room) / seconds : 0;
  }
  double Loss() const {
    return wanted ? 1 - static_cast<double>(answered_total) / static_cast<double>(wanted) : 0;
  }
};
void Summarize(const std::vector<const Counts*>& counts, Summary* summary);

// Why the figures say more of the generator than of the target; empty: they do not.
std::string GeneratorWasTheLimit(const Summary& summary, const LoadOptions& options);

void PrintTable(const Summary& summary, const LoadOptions& options, std::ostream& out);
std::string ToJson(const Summary& summary, const LoadOptions& options);
// HdrHistogram's percentile format, in milliseconds.
void WriteHdr(const Histogram& histogram, std::ostream& out);

}  // namespace wicket::blast
