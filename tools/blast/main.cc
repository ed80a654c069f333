// wicket-blast, a load generator for WireGuard endpoints.
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "tools/blast/find_max.h"
#include "tools/blast/fleet.h"
#include "tools/blast/load.h"
#include "tools/blast/options.h"
#include "tools/blast/report.h"

namespace wicket::blast {
namespace {

constexpr absl::Duration kProgressInterval = absl::Milliseconds(500);

Ending ending{kGoOn};
static_assert(Ending::is_always_lock_free);  // the signal handler sets it

void ShowProgress(const Load& load, absl::Duration started, uint64_t* before,
                  absl::Duration* then) {
  const absl::Duration now = SteadyNow();
  uint64_t sent = 0, answered = 0, lost = 0;
  for (const Counts* part : load.counts()) {
    sent += part->Sent();
    answered += part->Answered();
    lost += part->lost;
  }
  const double rate = static_cast<double>(sent - *before) / absl::ToDoubleSeconds(now - *then);
  absl::FPrintF(stderr, "\r\033[K%4.0f s  %d sent, %.0f/s  %d answered  %d lost",
                absl::ToDoubleSeconds(now - started), sent, rate, answered, lost);
  *before = sent;
  *then = now;
}

int RunFindMax(const Options& options, const Fleet& fleet, std::ofstream* json) {
  const bool table = options.json != "-";
  if (table) std::cout << "     rate      loss    p50 ms    p99 ms\n";
  const auto found = FindMax(options.load, options.bounds, &fleet, ending, [&](const Trial& trial) {
    if (!table) return;
    std::cout << absl::StrFormat("%9.0f %8.2f%% %9.3f %9.3f  %s\n", trial.rate, 100 * trial.loss,
                                 trial.p50_ms, trial.p99_ms, trial.failed)
              << std::flush;
  });
  if (!found.ok()) {
    std::cerr << "wicket-blast: " << found.status().message() << "\n";
    return kFailure;
  }
  if (table) {
    std::cout << absl::StrFormat(
        "\n%.0f a second, with a loss of %g %% and a p99 of %g ms at most\n", found->rate,
        100 * options.bounds.loss_max, options.bounds.p99_max_ms);
    if (found->rate > 0 && !found->confirmed) std::cout << "not confirmed\n";
    if (found->rate == 0) std::cout << "not even the first rate was borne\n";
    if (found->generator) {
      std::cout << "THE GENERATOR WAS THE LIMIT, not the target: " << found->limit << "\n";
    } else if (!found->limit.empty()) {
      std::cout << "what was the limit: " << found->limit << "\n";
    }
    if (json->is_open()) *json << ToJson(*found, options.bounds) << "\n";
  } else {
    std::cout << ToJson(*found, options.bounds) << "\n";
  }
  std::cout.flush();
  return found->rate > 0 ? kOk : kFailure;
}

int Run(const Options& options, const Fleet& fleet) {
  const bool terminal = isatty(STDERR_FILENO);
  if (terminal && options.load.prepared > 0) {
    absl::FPrintF(stderr, "\r\033[Kpreparing %d packets", options.load.prepared);
  }
  // Opened before the run, so that no run is lost for a file that cannot be written.
  std::ofstream json, hdr;
  if (!options.json.empty() && options.json != "-") json.open(options.json);
  if (!options.hdr.empty()) hdr.open(options.hdr);
  for (const auto& [file, name] : {std::pair{&json, options.json}, std::pair{&hdr, options.hdr}}) {
    if (*file) continue;
    std::cerr << "wicket-blast: " << name << ": cannot be written\n";
    return kFailure;
  }
  if (options.find_max) return RunFindMax(options, fleet, &json);
  auto load = Load::Make(options.load, &fleet, ending);
  if (!load.ok()) {
    std::cerr << "wicket-blast: " << load.status().message() << "\n";
    return kFailure;
  }
  const absl::Duration started = SteadyNow();
  absl::Duration shown = started;
  uint64_t sent = 0;
  (*load)->Start();
  while (!(*load)->done()) {
    absl::SleepFor(absl::Milliseconds(20));
    if (terminal && SteadyNow() - shown >= kProgressInterval) {
      ShowProgress(**load, started, &sent, &shown);
    }
  }
  (*load)->Join();
  if (terminal) fputs("\r\033[K", stderr);
  const auto summary = std::make_unique<Summary>();
  Summarize((*load)->counts(), summary.get());
  if (options.json == "-") {
    std::cout << ToJson(*summary, options.load) << "\n";
  } else {
    PrintTable(*summary, options.load, std::cout);
    if (json.is_open()) json << ToJson(*summary, options.load) << "\n";
  }
  if (hdr.is_open()) WriteHdr(summary->latency, hdr);
  for (const auto& [file, name] : {std::pair{&json, options.json}, std::pair{&hdr, options.hdr}}) {
    if (!file->is_open() || file->flush()) continue;
    std::cerr << "wicket-blast: " << name << ": not written\n";
    return kFailure;
  }
  if (!std::cout.flush()) return kFailure;
  return summary->wanted > 0 && summary->answered_total == 0 ? kFailure : kOk;
}

int Main(int argc, char** argv) {
  Options options;
  if (const auto status = ParseOptions(argc, argv, &options)) return *status;
  if (!crypto::Initialize().ok()) return kFailure;
  const Fleet fleet(options.seed, options.clients);
  if (!options.export_as.empty()) {
    options.export_as == "conf" ? fleet.WriteConf(std::cout) : fleet.WriteNdjson(std::cout);
    return std::cout.flush() ? kOk : kFailure;
  }
  if (const absl::Status read = ReadOptions(&options); !read.ok()) {
    std::cerr << "wicket-blast: " << read.message() << "\n";
    return kUsage;
  }
  struct sigaction action {};
  action.sa_handler = [](int) { ending = ending == kGoOn ? kSendNoMore : kWaitNoMore; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  if (options.pcap.empty()) return Run(options, fleet);
  const auto packets = WriteCapture(options.load, &fleet, options.pcap, ending);
  if (!packets.ok()) {
    std::cerr << "wicket-blast: " << packets.status().message() << "\n";
    return kFailure;
  }
  absl::PrintF("%d packets written to %s\n", *packets, options.pcap);
  return kOk;
}

}  // namespace
}  // namespace wicket::blast

int main(int argc, char** argv) { return wicket::blast::Main(argc, argv); }
