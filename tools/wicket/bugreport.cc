// wicket bugreport: what a maintainer needs to know, in one archive without secrets.
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "base/clock.h"
#include "gateway/config.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/redact.h"
#include "tools/wicket/text.h"

namespace wicket::tools {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBytesMax = 8 << 20;  // of one file of the archive

struct BugreportOptions {
  std::string config = "/etc/wicket.toml";
  std::string output;  // empty: in the current folder, named by the time
};

// One command's output and errors. What is not installed says so itself.
std::string OutputOf(const std::string& command) {
  const std::string with_limit = absl::StrCat("timeout 20 ", command, " 2>&1");
  FILE* pipe = popen(with_limit.c_str(), "re");
  if (pipe == nullptr) return "popen() failed\n";
  std::string text;
  char bytes[64 << 10];
  for (size_t n; text.size() < kBytesMax && (n = fread(bytes, 1, sizeof(bytes), pipe)) > 0;) {
    text.append(bytes, n);
  }
  pclose(pipe);
  return text;
}

std::string ContentOf(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::StrCat(path, ": cannot be read\n");
  std::string text{std::istreambuf_iterator<char>(file), {}};
  text.resize(std::min(text.size(), kBytesMax));
  return text;
}

// What is asked of the machine. No command prints a private or preshared key: `wg show` hides them.
std::vector<std::pair<std::string, std::string>> Commands(
    const BugreportOptions& options, const absl::StatusOr<gateway::Config>& config) {
  const std::string self = QuoteForShell(fs::read_symlink("/proc/self/exe").string());
  std::vector<std::pair<std::string, std::string>> commands = {
      {"doctor.json",
       absl::StrCat(self, " doctor --json --config ", QuoteForShell(options.config))},
      {"version.txt", absl::StrCat(self, " --version; uname -a; cat /etc/os-release")},
      {"journal.txt", "journalctl -u wicketd -n 5000 --no-pager -o short-iso-precise"},
      {"unit.txt", "systemctl show wicketd; systemctl cat wicketd"},
      {"services.txt",
       "journalctl -u wicket-edge -u wicket-hook -n 2000 --no-pager -o short-iso-precise; "
       "systemctl show wicket-edge wicket-hook"},
      {"edge.toml", "cat /etc/wicket-edge/edge.toml"},
      {"hooks.toml", "cat /etc/wicket-hook/hooks.toml"},
      {"kernel.txt", "dmesg -T | grep -iE 'xdp|bpf|wireguard|oom|I/O error|hung' | tail -n 500"},
      {"links.txt", "ip -d -s link; ip address; ip route; ip -6 route"},
      {"wireguard.txt",
       "wg show all listen-port; wg show all public-key; wg show all transfer | wc -l"},
      {"xdp.txt", "bpftool net; bpftool prog show name steer; bpftool map show"},
      {"cpu.txt", "lscpu; uptime; cat /proc/meminfo /proc/pressure/cpu /proc/pressure/io"},
      {"sysctl.txt", "sysctl net.core net.ipv4.conf kernel.unprivileged_bpf_disabled"}};
  if (!config.ok()) return commands;
  const auto add = [&](const char* name, const std::string& command) {
    commands.emplace_back(name, command);
  };
  add("status.json",
      absl::StrCat(self, " status --json --status-file ", QuoteForShell(config->status_file),
                   " --pin-dir ", QuoteForShell(config->pin_dir)));
  add("store.txt", absl::StrCat(self, " db stats --store ", QuoteForShell(config->store.path),
                                "; df -h ", QuoteForShell(config->store.path), "; ls -ln ",
                                QuoteForShell(config->store.path)));
  for (const gateway::NicConfig& nic : config->nics) {
    const std::string name = QuoteForShell(nic.name);
    std::vector<std::string> questions;
    for (const char* option : {"-i", "-k", "-l", "-g", "-x", "-S"}) {
      questions.push_back(absl::StrCat("ethtool ", option, " ", name));
    }
    questions.push_back(
        absl::StrCat("grep -E ", QuoteForShell("CPU|" + nic.name), " /proc/interrupts"));
    commands.emplace_back(absl::StrCat("nic-", nic.name, ".txt"), absl::StrJoin(questions, "; "));
  }
  return commands;
}

// `sh -c`, since a command may be several.
std::string Gather(const std::string& command) {
  return OutputOf("sh -c " + QuoteForShell(command));
}

absl::Status Write(const fs::path& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.flush();
  if (file) return absl::OkStatus();
  return ErrnoStatus(errno, absl::StrCat("write(", path.string(), ")"));
}

int Bugreport(BugreportOptions options) {
  const std::string name = absl::StrCat(
      "wicket-bugreport-", absl::FormatTime("%Y%m%dT%H%M%SZ", WallNow(), absl::UTCTimeZone()));
  if (options.output.empty()) options.output = name + ".tar.gz";
  if (fs::exists(options.output)) {
    return Fail(absl::AlreadyExistsError(absl::StrCat(options.output, ": exists")));
  }
  char folder[] = "/tmp/wicket-bugreport-XXXXXX";
  if (mkdtemp(folder) == nullptr) return Fail(ErrnoStatus(errno, "mkdtemp()"));
  const absl::Cleanup remove = [&] { fs::remove_all(folder); };
  const fs::path inside = fs::path(folder) / name;
  fs::create_directory(inside);
  const auto config = gateway::LoadConfig(options.config);
  if (const absl::Status wrote = Write(inside / "wicket.toml", Redact(ContentOf(options.config)));
      !wrote.ok()) {
    return Fail(wrote);
  }
  for (const auto& [file, command] : Commands(options, config)) {
    std::cerr << "  " << file << "\n";
    const absl::Status wrote = Write(inside / file, Redact(Gather(command)));
    if (!wrote.ok()) return Fail(wrote);
  }
  const mode_t before = umask(0077);
  const std::string packed =
      OutputOf(absl::StrCat("tar -C ", folder, " -czf ", QuoteForShell(options.output), " ", name));
  umask(before);
  if (!packed.empty() || !fs::exists(options.output)) {
    return Fail(absl::InternalError(absl::StrCat("tar: ", packed)));
  }
  std::cout << options.output
            << "\nKeys in it are replaced by numbers, the same for the same key. It does name "
               "addresses and interfaces: look before you send it.\n";
  return kOk;
}

}  // namespace

void AddBugreportCommand(CLI::App* app, std::function<int()>* run) {
  static BugreportOptions options;
  CLI::App* command = app->add_subcommand(
      "bugreport", "gather what a maintainer needs into one archive, without secrets");
  command->add_option("-c,--config", options.config, "wicketd's configuration")
      ->type_name("FILE")
      ->capture_default_str();
  command->add_option("-o,--output", options.output, "default: wicket-bugreport-TIME.tar.gz")
      ->type_name("FILE");
  command->callback([run] { *run = [] { return Bugreport(options); }; });
}

}  // namespace wicket::tools
