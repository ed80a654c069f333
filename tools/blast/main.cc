// wicket-blast, a load generator for WireGuard endpoints.
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "tools/blast/locality.h"
#include "tools/blast/report.h"

namespace wicket::blast {
namespace {

constexpr int kOk = 0, kFailure = 1, kUsage = 2;
constexpr absl::Duration kProgressInterval = absl::Milliseconds(500);

volatile sig_atomic_t interrupted = 0;

struct Options {
  LoadOptions load;
  std::string target, target_key, mix = "new", seed = "wicket", ramp, json, hdr, export_as, pcap;
  std::vector<std::string> from;
  uint64_t clients = 1000, in_flight = 0;
  double duration_s = 10, timeout_s = 5;
  bool own_target = false, no_confirm = false;
};

// Fills in what the text options say. Errors: InvalidArgument names the option.
absl::Status Read(Options* options) {
  LoadOptions& load = options->load;
  const auto target = ParseEndpoint(options->target);
  if (!target) {
    return absl::InvalidArgumentError(
        absl::StrCat("--target: found \"", options->target,
                     "\"; accepted: 192.0.2.1:51820 or [2001:db8::1]:51820"));
  }
  load.target = *target;
  const auto key = ParsePublicKey(options->target_key);
  if (!key) {
    return absl::InvalidArgumentError(
        "--public-key: not a public key (44 characters of base64, as `wg show` prints it)");
  }
  load.target_key = *key;
  for (const std::string& text : options->from) {
    const auto address = ParseAddress(text);
    if (!address || address->family != load.target.address.family) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--from: found \"", text, "\"; accepted: own addresses of the target's family"));
    }
    load.from.push_back(*address);
  }
  WICKET_ASSIGN_OR_RETURN(load.mix, Mix::Parse(options->mix));
  if (!options->ramp.empty()) {
    double from = 0, to = 0;
    if (sscanf(options->ramp.c_str(), "%lf:%lf", &from, &to) != 2 || from <= 0 || to <= 0) {
      return absl::InvalidArgumentError("--ramp: accepted: FROM:TO, packets a second, over 0");
    }
    load.rate = from;
    load.ramp_to = to;
  }
  if (options->in_flight > 0) load.in_flight = options->in_flight;
  load.duration = absl::Seconds(options->duration_s);
  load.timeout = absl::Seconds(options->timeout_s);
  load.confirm = !options->no_confirm;
  if (!options->own_target && options->pcap.empty() && !StaysHere(load.target.address)) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToString(load.target),
                     " is neither this machine's nor next to it on a virtual "
                     "link: say --i-own-this-target if you may load it"));
  }
  return absl::OkStatus();
}

void ShowProgress(const Load& load, absl::Time started, uint64_t* before, absl::Time* then) {
  const absl::Time now = absl::Now();
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

int Run(const Options& options) {
  const Fleet fleet(options.seed, options.clients);
  const bool terminal = isatty(STDERR_FILENO);
  if (terminal && options.load.prepared > 0) {
    absl::FPrintF(stderr, "\r\033[Kpreparing %d packets", options.load.prepared);
  }
  // Opened first: a run is not to end without its figures.
  std::ofstream json, hdr;
  if (!options.json.empty() && options.json != "-") json.open(options.json);
  if (!options.hdr.empty()) hdr.open(options.hdr);
  for (const auto& [file, name] : {std::pair{&json, options.json}, std::pair{&hdr, options.hdr}}) {
    if (*file) continue;
    std::cerr << "wicket-blast: " << name << ": cannot be written\n";
    return kFailure;
  }
  auto load = Load::Make(options.load, &fleet);
  if (!load.ok()) {
    std::cerr << "wicket-blast: " << load.status().message() << "\n";
    return kFailure;
  }
  struct sigaction action {};
  action.sa_handler = [](int) { interrupted = 1; };
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  const absl::Time started = absl::Now();
  absl::Time shown = started;
  uint64_t sent = 0;
  (*load)->Start();
  while (!(*load)->done()) {
    absl::SleepFor(absl::Milliseconds(20));
    if (interrupted) (*load)->Stop();
    if (terminal && absl::Now() - shown >= kProgressInterval) {
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
  std::cout.flush();
  return summary->wanted > 0 && summary->answered_total == 0 ? kFailure : kOk;
}

int Main(int argc, char** argv) {
  CLI::App app("Puts load on a WireGuard endpoint, with handshakes that are real.", "wicket-blast");
  Options options;
  app.set_version_flag("--version", "wicket-blast " WICKET_VERSION);
  app.set_config("--scenario", "", "a TOML file with any of these options");
  app.add_option("--target", options.target, "the endpoint, ADDRESS:PORT");
  app.add_option("--public-key", options.target_key, "the endpoint's public key");
  app.add_option("--clients", options.clients, "how many there are")
      ->check(CLI::Range(uint64_t{0}, uint64_t{100'000'000}))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "the clients' keys are derived from it")
      ->capture_default_str();
  app.add_option("--export", options.export_as,
                 "print what the endpoint must be told of the clients, and no more")
      ->check(CLI::IsMember({"ndjson", "conf"}));
  app.add_option("--mix", options.mix, "what is sent: KIND[=WEIGHT],...")->capture_default_str();
  app.add_option("--rate", options.load.rate, "packets a second")
      ->check(CLI::Range(0.001, 1e9))
      ->capture_default_str();
  app.add_option("--ramp", options.ramp, "a rate that grows from FROM to TO")->type_name("FROM:TO");
  app.add_option("--in-flight", options.in_flight,
                 "closed loop: keep so many handshakes under way, at no fixed rate");
  app.add_option("--duration", options.duration_s, "seconds")
      ->check(CLI::Range(0.01, 86400.0))
      ->capture_default_str();
  app.add_option("--count", options.load.count_max, "packets at most")->capture_default_str();
  app.add_option("--timeout", options.timeout_s, "seconds an answer is waited for")
      ->check(CLI::Range(0.001, 600.0))
      ->capture_default_str();
  app.add_option("--prepare", options.load.prepared, "make so many packets beforehand, send those");
  app.add_option("--from", options.from, "own source addresses")->delimiter(',');
  app.add_option("--sources", options.load.sources,
                 "sockets, each with a port of its own (default: one a client, up to 16384)");
  app.add_option("--attack-sources", options.load.attack_sources,
                 "sockets that all packets come from which are no client's")
      ->capture_default_str();
  app.add_option("--threads", options.load.threads, "sending threads")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--random-seed", options.load.seed, "of the order of a mix")
      ->capture_default_str();
  app.add_flag("--no-confirm", options.no_confirm, "leave sessions unconfirmed");
  app.add_option("--json", options.json, "write the figures here; - is standard output");
  app.add_option("--hdr", options.hdr, "write the latencies' percentiles here (HdrHistogram)");
  app.add_option("--pcap", options.pcap,
                 "write what would be sent into this capture file, and send nothing");
  app.add_flag("--i-own-this-target", options.own_target, "load a target that is not local");
  std::string kinds = "Kinds of packets:\n";
#define WICKET_BLAST_HELP(name, text, help) \
  absl::StrAppendFormat(&kinds, "  %-10s %s\n", text, help);
  WICKET_BLAST_KINDS(WICKET_BLAST_HELP)
#undef WICKET_BLAST_HELP
  app.footer(kinds + "Exit status: 0 done, 1 failed or no answer at all, 2 wrong usage.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  if (!crypto::Initialize().ok()) return kFailure;
  if (!options.export_as.empty()) {
    const Fleet fleet(options.seed, options.clients);
    options.export_as == "conf" ? fleet.WriteConf(std::cout) : fleet.WriteNdjson(std::cout);
    return std::cout.flush() ? kOk : kFailure;
  }
  if (const absl::Status read = Read(&options); !read.ok()) {
    std::cerr << "wicket-blast: " << read.message() << "\n";
    return kUsage;
  }
  if (options.pcap.empty()) return Run(options);
  const Fleet fleet(options.seed, options.clients);
  const auto packets = WriteCapture(options.load, &fleet, options.pcap);
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
