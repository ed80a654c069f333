// The options of wicket-blast.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "tools/blast/find_max.h"
#include "tools/blast/load.h"

namespace wicket::blast {

// Texts and numbers as they are given, of which ReadOptions() makes members of LoadOptions.
struct Given {
  std::string target, target_key, mix = "new", ramp, ports, ping, replay;
  std::vector<std::string> from;
  std::optional<double> rate, duration_s;
  uint64_t in_flight = 0;  // 0: not given
  double timeout_s = 5, retry_after_s = 5;
  bool no_confirm = false;
};

// What the command line and the scenario say.
struct Options {
  Given given;
  LoadOptions load;
  uint64_t clients = 1000;
  std::string seed = "wicket";  // the clients' keys are derived from it
  std::string export_as;        // ndjson or conf; empty: a load is made
  bool own_target = false;
  bool find_max = false;
  Bounds bounds;  // of find_max
  // Files; empty: none. `json` may be "-", standard output.
  std::string json, hdr, pcap;
  std::vector<CapturedDatagram> captured;  // load.replay points to it
};

// Exit statuses.
inline constexpr int kOk = 0, kFailure = 1, kUsage = 2;

// Reads the command line and the scenario that it names into all members of `options` but those
// that ReadOptions() fills in. Prints help, the version, or the fault of an option.
// Returns: the exit status when the program is to end with that.
std::optional<int> ParseOptions(int argc, char** argv, Options* options);

// Completes options->load from options->given, and reads the capture that is to be replayed.
// `options` must not move after that.
// Errors: InvalidArgument names the option, what was found and what is accepted; those of
//         ReadCapture().
absl::Status ReadOptions(Options* options);

}  // namespace wicket::blast
