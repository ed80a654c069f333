#include "tools/blast/options.h"

#include <net/if.h>
#include <stdio.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "tools/blast/route.h"
#include "tools/blast/scenario.h"

namespace wicket::blast {
namespace {

constexpr double kDuration_s = 10;
constexpr double kRateMin = 0.001, kRateMax = 1e9;  // packets a second

// --- the command line: --help prints options in the order they are added in ---

void AddClients(CLI::App* app, Options* options) {
  app->add_option("--target", options->given.target, "the endpoint, ADDRESS:PORT");
  app->add_option("--public-key", options->given.target_key, "the endpoint's public key");
  app->add_option("--clients", options->clients, "how many there are")
      ->check(CLI::Range(uint64_t{0}, uint64_t{100'000'000}))
      ->capture_default_str();
  app->add_option("--seed", options->seed, "the clients' keys are derived from it")
      ->capture_default_str();
  app->add_option("--export", options->export_as,
                  "print what the endpoint must be told of the clients, and no more")
      ->check(CLI::IsMember({"ndjson", "conf"}));
}

void AddSchedule(CLI::App* app, Options* options) {
  app->add_option("--mix", options->given.mix, "what is sent: KIND[=WEIGHT],...")
      ->capture_default_str();
  app->add_option("--rate", options->given.rate, "packets a second (100)")
      ->check(CLI::Range(kRateMin, kRateMax));
  app->add_option("--ramp", options->given.ramp, "a rate that grows from FROM to TO")
      ->type_name("FROM:TO");
  app->add_option("--in-flight", options->given.in_flight,
                  "closed loop: keep N handshakes in flight, at no fixed rate")
      ->check(CLI::Range(uint64_t{1}, kInFlightMax));
  app->add_option("--duration", options->given.duration_s,
                  "seconds; of a capture: as long as it is")
      ->check(CLI::Range(0.01, 86400.0))
      ->default_str("10");
  app->add_option("--count", options->load.pace.count_max, "packets at most")
      ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000'000'000}))
      ->capture_default_str();
}

void AddHandshakes(CLI::App* app, Options* options) {
  app->add_option("--timeout", options->given.timeout_s, "seconds an answer is waited for")
      ->check(CLI::Range(0.001, 600.0))
      ->capture_default_str();
  app->add_option("--prepare", options->load.prepared, "make N packets beforehand, and send those")
      ->check(CLI::Range(uint64_t{0}, kPreparedMax));
  app->add_option("--retries", options->load.patience.retries,
                  "handshakes more of a client that got no answer, with the cookie that it got")
      ->check(CLI::Range(uint64_t{0}, uint64_t{1000}))
      ->capture_default_str();
  app->add_option("--retry-after", options->given.retry_after_s,
                  "seconds, and up to a fifteenth more")
      ->check(CLI::Range(0.001, 600.0))
      ->capture_default_str();
  app->add_option("--ping", options->given.ping,
                  "complete handshakes with a ping to this IPv6 address in the tunnel");
}

void AddSources(CLI::App* app, Options* options) {
  app->add_option("--via", options->load.port.via, "sockets, or frames through AF_XDP")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, Via>{{"udp", Via::kUdp}, {"xdp", Via::kXdp}}))
      ->type_name("udp|xdp")
      ->default_str("udp");
  app->add_option("--interface", options->load.port.interface, "AF_XDP: which (the route's)");
  app->add_option("--xdp-copy", options->load.port.copy, "AF_XDP: how frames reach the driver")
      ->transform(CLI::CheckedTransformer(std::map<std::string, XdpCopy>{
          {"auto", XdpCopy::kAuto}, {"copy", XdpCopy::kCopy}, {"zero-copy", XdpCopy::kZeroCopy}}))
      ->type_name("auto|copy|zero-copy")
      ->default_str("auto");
  app->add_option("--vlan", options->load.port.vlan, "AF_XDP, captures: 802.1Q")
      ->check(CLI::Range(1, 4094));
  app->add_option("--from", options->given.from,
                  "source addresses or prefixes; AF_XDP also takes what is not ours")
      ->delimiter(',');
  app->add_option("--ports", options->given.ports, "source ports")->type_name("FIRST-LAST");
  app->add_option("--sources", options->load.clients.sources,
                  "addresses and ports that clients share (default: one a client, up to 16384)")
      ->check(CLI::Range(uint64_t{1}, uint64_t{100'000'000}));
  app->add_option("--attack-sources", options->load.attack_sources,
                  "others that all packets come from which are no client's")
      ->check(CLI::Range(uint64_t{1}, uint64_t{100'000'000}))
      ->capture_default_str();
}

void AddThreads(CLI::App* app, Options* options) {
  app->add_option("--cpus", options->load.cpus, "threads are pinned to these")->delimiter(',');
  app->add_option("--threads", options->load.threads, "sending threads")
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app->add_option("--random-seed", options->load.seed, "of the order of a mix")
      ->capture_default_str();
  app->add_flag("--known", options->load.clients.known,
                "the clients were there before this run: rekey and old begin with any of them");
  app->add_flag("--no-confirm", options->given.no_confirm, "leave sessions unconfirmed");
}

void AddResults(CLI::App* app, Options* options) {
  app->add_option("--json", options->json, "write the figures here; - is standard output");
  app->add_option("--hdr", options->hdr, "write the latencies' percentiles here (HdrHistogram)");
  app->add_flag("--find-max", options->find_max,
                "find the highest rate with no more loss and latency than:");
  app->add_option("--max-loss", options->bounds.loss_max, "a share of the handshakes")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app->add_option("--max-p99", options->bounds.p99_max_ms, "milliseconds")
      ->check(CLI::Range(0.001, 600000.0))
      ->capture_default_str();
  app->add_option("--replay", options->given.replay,
                  "send the UDP packets of this capture file, at their times or at --rate");
  app->add_option("--pcap", options->pcap,
                  "write what would be sent into this capture file, and send nothing");
  app->add_flag("--i-own-this-target", options->own_target, "load a target that is not local");
}

void AddFooter(CLI::App* app) {
  std::string kinds = "Kinds of packets:\n";
#define WICKET_BLAST_HELP(name, text, help) \
  absl::StrAppendFormat(&kinds, "  %-10s %s\n", text, help);
  WICKET_BLAST_KINDS(WICKET_BLAST_HELP)
#undef WICKET_BLAST_HELP
  app->footer(kinds + "Exit status: 0 done, 1 failed or no answer at all, 2 wrong usage.");
}

void AddExclusions(CLI::App* app) {
  for (const char* other : {"--ramp", "--in-flight", "--replay", "--pcap", "--hdr", "--count"}) {
    app->get_option("--find-max")->excludes(app->get_option(other));
  }
  app->get_option("--replay")->excludes(app->get_option("--pcap"));
  app->get_option("--ramp")->excludes(app->get_option("--in-flight"));
}

// --- what texts stand for ---

// "A-B" or "A", both 1..65535.
std::optional<std::pair<uint16_t, uint16_t>> ParsePorts(const std::string& text) {
  unsigned from = 0, to = 0;
  int used = 0;
  if (sscanf(text.c_str(), "%u-%u%n", &from, &to, &used) != 2) {
    if (sscanf(text.c_str(), "%u%n", &from, &used) != 1) return std::nullopt;
    to = from;
  }
  if (static_cast<size_t>(used) != text.size() || from < 1 || from > to || to > 65535) {
    return std::nullopt;
  }
  return std::pair{static_cast<uint16_t>(from), static_cast<uint16_t>(to)};
}

absl::Status ReadEndpoint(Options* options) {
  const auto target = ParseEndpoint(options->given.target);
  if (!target) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--target: ",
        options->given.target.empty() ? "missing" : "found \"" + options->given.target + "\"",
        "; accepted: 192.0.2.1:51820 or [2001:db8::1]:51820"));
  }
  options->load.port.target = *target;
  const auto key = ParsePublicKey(options->given.target_key);
  if (!key && options->given.replay.empty()) {  // a capture's packets were made for some key
    return absl::InvalidArgumentError(absl::StrCat(
        "--public-key: ",
        options->given.target_key.empty() ? "missing; the target's" : "not a public key; accepted",
        ": 44 characters of base64, as `wg show` prints it"));
  }
  if (key) options->load.target_key = *key;
  return absl::OkStatus();
}

absl::Status ReadSources(Options* options) {
  PortOptions& port = options->load.port;
  for (const std::string& text : options->given.from) {
    const auto prefix = ParsePrefix(text);
    if (!prefix || prefix->address.family != port.target.address.family) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--from: found \"", text, "\"; accepted: addresses or prefixes of the target's family"));
    }
    port.sources.from.push_back(*prefix);
  }
  if (!options->given.ports.empty()) {
    port.sources.ports = ParsePorts(options->given.ports);
    if (!port.sources.ports) {
      return absl::InvalidArgumentError(absl::StrCat("--ports: found \"", options->given.ports,
                                                     "\"; accepted: FIRST-LAST, of 1 to 65535"));
    }
  }
  if (port.vlan && port.via == Via::kUdp && options->pcap.empty()) {
    return absl::InvalidArgumentError(
        "--vlan: only with --via xdp or --pcap; for UDP make a VLAN interface");
  }
  return absl::OkStatus();
}

absl::Status ReadPing(Options* options) {
  std::optional<Address>& ping = options->load.ping;
  if (options->given.ping.empty()) return absl::OkStatus();
  ping = ParseAddress(options->given.ping);
  if (ping && ping->family == Family::kIpv6) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "--ping: found \"", options->given.ping, "\"; accepted: an IPv6 address inside the tunnel"));
}

// Without a rate a capture has times of its own, and lasts a second longer than they do.
absl::Status ReadReplay(Options* options) {
  LoadOptions& load = options->load;
  if (options->given.replay.empty()) return absl::OkStatus();
  WICKET_ASSIGN_OR_RETURN(options->captured, ReadCapture(options->given.replay));
  load.replay = &options->captured;
  load.at_captured_times =
      !options->given.rate && !options->given.in_flight && options->given.ramp.empty();
  if (load.at_captured_times && !options->given.duration_s) {
    options->given.duration_s = absl::ToDoubleSeconds(options->captured.back().offset) + 1;
  }
  std::set<Endpoint> senders;
  for (const CapturedDatagram& datagram : options->captured) senders.insert(datagram.from);
  if (load.clients.sources == 0) {
    load.clients.sources = std::min<uint64_t>(senders.size(), kClientSourcesMax);
  }
  return absl::OkStatus();
}

absl::Status ReadRamp(Options* options) {
  double from = 0, to = 0;
  const std::pair<std::string, std::string> ends = absl::StrSplit(options->given.ramp, ':');
  const auto bad = [](double rate) { return !(rate >= kRateMin && rate <= kRateMax); };
  if (!absl::SimpleAtod(ends.first, &from) || !absl::SimpleAtod(ends.second, &to) || bad(from) ||
      bad(to)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("--ramp: found \"%s\"; accepted: FROM:TO, packets a second, %g to %g",
                        options->given.ramp, kRateMin, kRateMax));
  }
  options->load.pace.rate = from;
  options->load.pace.ramp_to = to;
  return absl::OkStatus();
}

absl::Status ReadSchedule(Options* options) {
  LoadOptions& load = options->load;
  if (options->given.rate) load.pace.rate = *options->given.rate;
  WICKET_ASSIGN_OR_RETURN(load.mix, Mix::Parse(options->given.mix));
  if (!options->given.ramp.empty()) WICKET_RETURN_IF_ERROR(ReadRamp(options));
  if (options->given.in_flight > 0) load.pace.in_flight = options->given.in_flight;
  load.pace.duration = absl::Seconds(options->given.duration_s.value_or(kDuration_s));
  load.patience.timeout = absl::Seconds(options->given.timeout_s);
  load.patience.retry_after = absl::Seconds(options->given.retry_after_s);
  load.confirm = !options->given.no_confirm;
  return absl::OkStatus();
}

absl::Status CheckClients(const Options& options) {
  const LoadOptions& load = options.load;
  if (load.clients.known && options.clients < static_cast<uint64_t>(load.threads)) {
    return absl::InvalidArgumentError(
        "--known: every thread needs a client (--clients, --threads)");
  }
  // No client has a session before the first packet left.
  if (load.prepared == 0 && options.pcap.empty()) return absl::OkStatus();
  if (load.mix.Has(Kind::kData)) {
    return absl::InvalidArgumentError(
        "--mix: data is made of a session's keys: not with --prepare or --pcap");
  }
  if (!load.clients.known && (load.mix.Has(Kind::kRekey) || load.mix.Has(Kind::kOld))) {
    return absl::InvalidArgumentError(
        "--mix: rekey and old are of clients that came before: with --prepare or --pcap say "
        "--known, if they did");
  }
  return absl::OkStatus();
}

absl::Status CheckWay(const Options& options) {
  const PortOptions& port = options.load.port;
  if (!port.interface.empty() && port.via != Via::kXdp && options.pcap.empty()) {
    return absl::InvalidArgumentError(
        "--interface is for --via xdp; sockets take the route there is");
  }
  if (!port.interface.empty() && if_nametoindex(port.interface.c_str()) == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--interface: there is no ", port.interface, " here"));
  }
  if (!options.own_target && options.pcap.empty() &&
      !StaysHere(port.target.address, port.interface)) {
    return absl::InvalidArgumentError(
        absl::StrCat(ToString(port.target),
                     " is neither this machine's nor next to it on a virtual "
                     "link: say --i-own-this-target if you may load it"));
  }
  return absl::OkStatus();
}

}  // namespace

std::optional<int> ParseOptions(int argc, char** argv, Options* options) {
  CLI::App app("Puts load on a WireGuard endpoint, with handshakes that are real.", "wicket-blast");
  app.set_version_flag("--version", "wicket-blast " WICKET_VERSION);
  app.set_config("--scenario", "", "a TOML file with any of these options");
  app.config_formatter(std::make_shared<Scenario>(&app));
  app.allow_config_extras(CLI::config_extras_mode::error);
  AddClients(&app, options);
  AddSchedule(&app, options);
  AddHandshakes(&app, options);
  AddSources(&app, options);
  AddThreads(&app, options);
  AddResults(&app, options);
  AddFooter(&app);
  AddExclusions(&app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ExtrasError&) {  // its own text has them backwards
    std::cerr << "wicket-blast: not expected: " << absl::StrJoin(app.remaining(), " ")
              << "\nRun with --help for more information.\n";
    return kUsage;
  } catch (const CLI::ParseError& error) {
    const int status = app.exit(error);
    if (const auto scenario = app.get_config_ptr()->as<std::string>();
        status == static_cast<int>(CLI::ExitCodes::ValidationError) && !scenario.empty()) {
      std::cerr << "It stands on the command line or in " << scenario << ".\n";
    }
    return status == 0 ? kOk : kUsage;
  }
  return std::nullopt;
}

absl::Status ReadOptions(Options* options) {
  WICKET_RETURN_IF_ERROR(ReadEndpoint(options));
  WICKET_RETURN_IF_ERROR(ReadSources(options));
  WICKET_RETURN_IF_ERROR(ReadPing(options));
  WICKET_RETURN_IF_ERROR(ReadReplay(options));
  WICKET_RETURN_IF_ERROR(ReadSchedule(options));
  WICKET_RETURN_IF_ERROR(CheckClients(*options));
  return CheckWay(*options);
}

}  // namespace wicket::blast
