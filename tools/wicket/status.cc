// wicket status: what the gateway does and has done.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "document/status_text.h"
#include "intake/verdict.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "xsk/steering.h"

namespace wicket::tools {
namespace {

constexpr absl::Duration kSilent = absl::Seconds(5);
constexpr double kDeviceSilent_s = 2;    // an idle installer notes its progress every 0.25 s
constexpr double kDumpedLongAgo_s = 30;  // dumps begin at most 5 s apart; a large one takes seconds
constexpr absl::Duration kWaitPoll = absl::Milliseconds(20);

struct StatusOptions {
  std::string status_file = "/run/wicket/status.json";
  std::string pin_dir = "/sys/fs/bpf/wicket";  // used when there is no status file
  std::string remote;                          // empty: the gateway on this machine
  bool json = false;
  int wait_s = -1;  // for the daemon and all its devices and NICs to be there; -1: do not
};

void PrintCounts(const std::map<std::string, uint64_t>& counts,
                 const std::vector<std::pair<std::string, std::string>>& names) {
  for (const auto& [name, help] : names) {
    const auto it = counts.find(name);
    if (it == counts.end() || it->second == 0) continue;
    absl::PrintF("    %-20s %12d  %s\n", name, it->second, help);
  }
}

const std::vector<std::pair<std::string, std::string>>& VerdictNames() {
  static const auto* names = new std::vector<std::pair<std::string, std::string>>{
#define WICKET_VERDICT_NAME(name, text, help) {text, help},
      WICKET_VERDICTS(WICKET_VERDICT_NAME)
#undef WICKET_VERDICT_NAME
  };
  return *names;
}

const std::vector<std::pair<std::string, std::string>>& SteeringNames() {
  static const auto* names = new std::vector<std::pair<std::string, std::string>>{
#define WICKET_STEER_NAME(name, action, text, help) {text, help},
      STEER_COUNTS(WICKET_STEER_NAME)
#undef WICKET_STEER_NAME
  };
  return *names;
}

void PrintNic(const document::NicStatus& nic) {
  absl::PrintF("nic: %s\n", nic.name);
  if (nic.xdp_mode == "away") {
    return absl::PrintF("  away: its packets pass to the kernel%s%s\n",
                        nic.away_reason.empty() ? "" : "; ", nic.away_reason),
           void();
  }
  absl::PrintF("  xdp: %s%s, %d %s, %s\n", nic.xdp_mode, nic.shared ? " beside other programs" : "",
               nic.queues, nic.queues == 1 ? "queue" : "queues",
               nic.zero_copy ? "zero copy" : "copy mode");
  absl::PrintF("  reinject: %s (%s)\n", nic.reinject, nic.reinject_reason);
  if (nic.load_raised > 0) {
    absl::PrintF("  load: came under it %d times%s\n", nic.load_raised,
                 nic.under_load ? ", is under it" : "");
  }
  if (nic.wait_p99_ms > 0) {
    absl::PrintF("  lately, waited for a shard: p99 %.2f ms\n", nic.wait_p99_ms);
  }
  if (nic.ring_full + nic.ring_dropped > 0) {
    absl::PrintF("  lost at the ring: %d full, %d invalid\n", nic.ring_full, nic.ring_dropped);
  }
}

void PrintDevice(const document::DeviceStatus& device) {
  absl::PrintF("device: %s\n", device.name);
  if (device.backend == "away") {
    return absl::PrintF("  away: waiting for it%s%s\n", device.away_reason.empty() ? "" : "; ",
                        device.away_reason),
           void();
  }
  absl::PrintF("  public key: %s\n  listening port: %d (%s backend)\n", device.public_key,
               device.port, device.backend);
  absl::PrintF("  installed: %d peers, %d unconfirmed, %d of others\n", device.installed,
               device.installed_unconfirmed, device.foreign);
  if (device.silent_s > kDeviceSilent_s) {
    absl::PrintF("  has not answered for %.0f s\n", device.silent_s);
  }
  if (device.dumped_s_ago > kDumpedLongAgo_s) {
    absl::PrintF("  its peers were last read %.0f s ago\n", device.dumped_s_ago);
  }
  if (device.install_count > 0) {
    absl::PrintF("  lately, packet seen to given back: p50 %.2f ms, p99 %.2f ms (%d)\n",
                 device.install_p50_ms, device.install_p99_ms, device.install_count);
  }
  for (const auto& [name, count] : device.counts) {
    if (count > 0) absl::PrintF("    %-20s %12d\n", name, count);
  }
}

void PrintDefence(const document::DefenceStatus& defence) {
  const bool quiet = defence.refused_per_s.empty() && !defence.under_load;
  if (quiet && defence.attack) absl::PrintF("\nUNDER ATTACK until some seconds ago, quiet now\n");
  if (quiet) return;
  absl::PrintF("\n%s", defence.attack ? "UNDER ATTACK" : "refused in the last second");
  if (defence.attack) {
    absl::PrintF(" for %s", absl::FormatDuration(
                                absl::Floor(WallNow() - defence.attack_since, absl::Seconds(1))));
  }
  absl::PrintF("%s: about %d sources refused, %.0f initiations a second proven\n",
               defence.under_load ? ", under load (cookies are asked for)" : "", defence.sources,
               defence.proven_per_s);
  for (const auto& [name, rate] : defence.refused_per_s) {
    absl::PrintF("    %-20s %12.0f a second\n", name, rate);
  }
}

void Print(const document::Status& status) {
  absl::PrintF("wicketd %s, process %d, up %s\n", status.version, status.pid,
               absl::FormatDuration(absl::Floor(WallNow() - status.started, absl::Seconds(1))));
  absl::PrintF("X25519: %s\n", status.x25519);
  absl::PrintF("store: %s, %d peers, %.1f MB\n", status.store_path, status.stored_peers,
               static_cast<double>(status.store_bytes) / 1e6);
  if (status.store_refuses_writes) {
    absl::PrintF("  %d sessions are not saved: the store does not accept writes\n",
                 status.unsaved_sessions);
  }
  if (status.clock_steps > 0) {
    absl::PrintF("wall clock: stepped %d %s since the start\n", status.clock_steps,
                 status.clock_steps == 1 ? "time" : "times");
  }
  absl::PrintF("\n");
  for (const auto& nic : status.nics) PrintNic(nic);
  absl::PrintF("\n");
  for (const auto& device : status.devices) PrintDevice(device);
  PrintDefence(status.defence);
  absl::PrintF("\ninitiations, by the shards:\n");
  PrintCounts(status.verdicts, VerdictNames());
  absl::PrintF("packets, by the XDP program:\n");
  PrintCounts(status.steering, SteeringNames());
}

// The daemon's state as it last wrote it down.
struct Report {
  document::Status status;
  std::string problem;  // empty: the daemon runs
  bool found = false;   // false: `status` is empty
};

absl::StatusOr<Report> ReadReport(const std::string& path) {
  errno = 0;
  std::ifstream file(path);
  const int error = errno;
  std::stringstream text;
  text << file.rdbuf();
  Report report;
  if (!file && error == EACCES) {
    return ErrnoStatus(error, absl::StrCat("open(", path, ")"),
                       "ask as root, or as a member of the daemon's group");
  }
  if (!file) {
    report.problem = "wicketd does not run (no status file)";
    return report;
  }
  WICKET_ASSIGN_OR_RETURN(report.status, document::ParseStatus(text.str()));
  report.found = true;
  if (kill(report.status.pid, 0) != 0 && errno == ESRCH) {
    report.problem = "wicketd is dead; this is what it last wrote";
  } else if (WallNow() - report.status.written > kSilent) {
    report.problem = "wicketd hangs: its status file is old";
  }
  return report;
}

// What a running daemon still waits for; empty: nothing.
std::string Lacks(const document::Status& status) {
  for (const auto& nic : status.nics) {
    if (nic.xdp_mode == "away") return absl::StrCat("NIC ", nic.name, " is away");
  }
  for (const auto& device : status.devices) {
    if (device.backend == "away") return absl::StrCat("device ", device.name, " is away");
  }
  return "";
}

absl::StatusOr<Report> WaitForReport(const StatusOptions& options) {
  const absl::Duration deadline = SteadyNow() + absl::Seconds(options.wait_s);
  for (;;) {
    absl::StatusOr<Report> report = ReadReport(options.status_file);
    if (report.ok() && report->problem.empty()) report->problem = Lacks(report->status);
    const bool ready = report.ok() && report->problem.empty();
    if (ready || SteadyNow() >= deadline) return report;
    absl::SleepFor(kWaitPoll);
  }
}

// The status of a gateway elsewhere.
absl::StatusOr<document::Status> AskRemote(const std::string& remote) {
  ConnectionOptions options;
  options.remote = remote;
  WICKET_ASSIGN_OR_RETURN(auto connection, Connection::OpenOnline(options));
  WICKET_ASSIGN_OR_RETURN(const Answer answer, connection->Call("GET", "/v1/status"));
  WICKET_RETURN_IF_ERROR(ErrorOf(answer));
  return document::ParseStatus(answer.text);
}

int RemoteStatus(const StatusOptions& options) {
  const auto status = AskRemote(options.remote);
  if (!status.ok()) return Fail(status.status());
  if (options.json) {
    std::cout << document::ToJson(*status) << "\n";
  } else {
    Print(*status);
  }
  return kOk;
}

int Status(const StatusOptions& options) {
  if (!options.remote.empty()) return RemoteStatus(options);
  absl::StatusOr<Report> report =
      options.wait_s < 0 ? ReadReport(options.status_file) : WaitForReport(options);
  if (!report.ok()) {
    std::cerr << "wicket: " << options.status_file << ": " << report.status().message() << "\n";
    return kFailure;
  }
  document::Status& status = report->status;
  if (!report->found) status.pin_dir = options.pin_dir;
  // The program's own counters go on without the daemon.
  const auto steering = xsk::Steering::OpenReadOnly(status.pin_dir);
  if (steering.ok()) status.steering = xsk::NamedCounters((*steering)->ReadCounters());
  if (!report->problem.empty()) {
    std::cerr << "wicket: " << options.status_file << ": " << report->problem
              << (steering.ok() ? "" : "; nothing is pinned either") << "\n";
  }
  if (options.json) {
    std::cout << document::ToJson(status) << "\n";
  } else if (report->found) {
    Print(status);
  } else if (steering.ok()) {
    absl::PrintF("packets, by the XDP program:\n");
    PrintCounts(status.steering, SteeringNames());
  }
  return report->problem.empty() ? kOk : kFailure;
}

}  // namespace

void AddStatusCommand(CLI::App* app, std::function<int()>* run) {
  static StatusOptions options;
  CLI::App* command = app->add_subcommand("status", "what the gateway does and has done");
  command->add_option("--status-file", options.status_file, "as configured")
      ->type_name("FILE")
      ->capture_default_str();
  command
      ->add_option("--pin-dir", options.pin_dir,
                   "where the XDP program's counters are, for when no daemon runs")
      ->type_name("DIR")
      ->capture_default_str();
  command->add_flag("--json", options.json, "print JSON");
  AddRemoteOption(command, &options.remote);
  command
      ->add_option("--wait", options.wait_s,
                   "wait until wicketd runs and has its devices and NICs; SECONDS at most")
      ->type_name("SECONDS")
      ->expected(0, 1)
      ->default_str("30")
      ->check(CLI::Range(0, 86400));
  command->callback([run] { *run = [] { return Status(options); }; });
}

}  // namespace wicket::tools
