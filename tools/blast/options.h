// The options of wicket-blast.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "tools/blast/find_max.h"
#include "tools/blast/load.h"

namespace wicket::blast {

// What the command line and the scenario say. ParseOptions() fills in all but load's members that
// a text stands for; ReadOptions() fills in those.
struct Options {
  LoadOptions load;
  std::string target, target_key, mix = "new", ramp, ports, ping, replay;  // texts of `load`
  std::vector<std::string> from;
  uint64_t in_flight = 0;
  std::optional<double> rate, duration_s;
  double timeout_s = 5, retry_after_s = 5;
  bool no_confirm = false;

  uint64_t clients = 1000;
  std::string seed = "wicket";  // of the clients' keys
  std::string export_as;        // ndjson or conf; empty: a load is made
  bool own_target = false;
  bool find_max = false;
  Bounds bounds;
  std::string json, hdr, pcap;             // files; empty: none
  std::vector<CapturedDatagram> captured;  // load.replay
};

// Exit statuses.
inline constexpr int kOk = 0, kFailure = 1, kUsage = 2;

// Reads the command line, and the scenario that it names. Prints help, the version and what is
// wrong.
// Returns: the exit status when that is all there is to do.
std::optional<int> ParseOptions(int argc, char** argv, Options* options);

// Fills in options->load, and reads the capture that is to be replayed. `options` must not move
// after that: options->load points into it.
// Errors: InvalidArgument names the option, what was found and what is accepted; those of
//         ReadCapture().
absl::Status ReadOptions(Options* options);

}  // namespace wicket::blast
