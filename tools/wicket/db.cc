// wicket db: the store as a file. wicket config: the daemon's configuration.
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "gateway/config.h"
#include "store/store.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"

namespace wicket::tools {
namespace {

struct DbOptions {
  std::string store = "/var/lib/wicket", target;
  bool json = false;
};

absl::StatusOr<store::Store> OpenStore(const DbOptions& options) {
  return store::Store::Open({.path = options.store, .create = false});
}

int Stats(const DbOptions& options) {
  const auto opened = OpenStore(options);
  if (!opened.ok()) return Fail(opened.status());
  const auto stats = opened->ReadStats();
  if (!stats.ok()) return Fail(stats.status());
  const double each =
      stats->peers ? static_cast<double>(stats->file_bytes) / static_cast<double>(stats->peers) : 0;
  if (options.json) {
    absl::PrintF("{\"peers\":%d,\"prefixes\":%d,\"sessions\":%d,\"file_bytes\":%d}\n", stats->peers,
                 stats->prefixes, stats->sessions, stats->file_bytes);
  } else {
    absl::PrintF("%s: %d peers, %d allowed ips, %d sessions; %.1f MB, %.0f bytes a peer\n",
                 options.store, stats->peers, stats->prefixes, stats->sessions,
                 static_cast<double>(stats->file_bytes) / 1e6, each);
  }
  return kOk;
}

int VerifyHere(const DbOptions& options) {
  const auto opened = OpenStore(options);
  if (!opened.ok()) return Fail(opened.status());
  const auto snapshot = opened->NewSnapshot();
  if (!snapshot.ok()) return Fail(snapshot.status());
  const bool terminal = isatty(STDERR_FILENO);
  const auto findings = snapshot->Verify(
      [](const std::string& problem) { std::cerr << "wicket: " << problem << "\n"; },
      [&](uint64_t read) {
        if (terminal) absl::FPrintF(stderr, "\r\033[K%d entries read", read);
      });
  if (terminal) fputs("\r\033[K", stderr);
  if (!findings.ok()) return Fail(findings.status());
  if (options.json) {
    absl::PrintF("{\"peers\":%d,\"sessions\":%d,\"index_entries\":%d,\"problems\":%d}\n",
                 findings->peers, findings->sessions, findings->index_entries, findings->problems);
  } else {
    absl::PrintF("%s: %d peers, %d sessions, %d index entries, %d problems\n", options.store,
                 findings->peers, findings->sessions, findings->index_entries, findings->problems);
  }
  return findings->problems == 0 ? kOk : kFailure;
}

// In a process of its own: LMDB trusts its pages, and a damaged one may end it.
int Verify(const DbOptions& options) {
  const pid_t child = fork();
  if (child == 0) {
    const int result = VerifyHere(options);
    std::cout.flush();
    fflush(nullptr);
    _exit(result);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) {
    return Fail(ErrnoStatus(errno, "fork()"));
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  return Fail(absl::DataLossError(
      absl::StrCat(options.store, ": reading it ended with signal ", WTERMSIG(status),
                   "; the file is damaged: restore a backup or import the peers again")));
}

int Backup(const DbOptions& options) {
  const auto opened = OpenStore(options);
  if (!opened.ok()) return Fail(opened.status());
  if (const auto copied = opened->CopyTo(options.target, /*compact=*/true); !copied.ok()) {
    return Fail(copied);
  }
  std::cout << "copied " << options.store << " to " << options.target << "\n";
  return kOk;
}

int Compact(const DbOptions& options) {
  auto opened = OpenStore(options);
  if (!opened.ok()) return Fail(opened.status());
  if (const auto alone = opened->LockForDaemon(); !alone.ok()) return Fail(alone);
  // No other writer may lose what it writes while the file is replaced.
  const auto turn = opened->Write(absl::Seconds(5));
  if (!turn.ok()) return Fail(turn.status());
  const std::string fresh = options.store + "/compact.new";
  std::error_code error;
  std::filesystem::remove_all(fresh, error);
  const auto before = opened->ReadStats();
  if (const auto copied = opened->CopyTo(fresh, /*compact=*/true); !copied.ok()) {
    std::filesystem::remove_all(fresh, error);
    return Fail(copied);
  }
  std::filesystem::rename(fresh + "/data.mdb", options.store + "/data.mdb", error);
  if (error) return Fail(absl::InternalError(absl::StrCat(fresh, ": ", error.message())));
  std::filesystem::remove_all(fresh, error);
  const auto bytes = std::filesystem::file_size(options.store + "/data.mdb", error);
  absl::PrintF("%s: %.1f MB, before %.1f MB\n", options.store, static_cast<double>(bytes) / 1e6,
               before.ok() ? static_cast<double>(before->file_bytes) / 1e6 : 0.0);
  return kOk;
}

int CheckConfig(const std::string& path) {
  const auto config = gateway::LoadConfig(path);
  if (!config.ok()) {
    std::cerr << config.status().message() << "\n";
    return kFailure;
  }
  std::cout << path << ": ok\n";
  return kOk;
}

}  // namespace

void AddDbCommands(CLI::App* app, std::function<int()>* run) {
  static DbOptions options;
  CLI::App* db = app->add_subcommand("db", "the store as a file");
  db->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, int (*command)(const DbOptions&)) {
    CLI::App* sub = db->add_subcommand(name, help);
    sub->add_option("--store", options.store, "folder of the store")
        ->type_name("DIR")
        ->capture_default_str();
    sub->callback([run, command] { *run = [command] { return command(options); }; });
    return sub;
  };
  add("stats", "how much is in it", Stats)->add_flag("--json", options.json, "print JSON");
  add("verify", "read everything and hold records against indexes", Verify)
      ->add_flag("--json", options.json, "print JSON");
  add("backup", "copy one moment of it into a new folder; the daemon may run", Backup)
      ->add_option("folder", options.target, "the folder, which must not exist")
      ->required();
  add("compact", "give free space back; the daemon must not run", Compact);
}

void AddConfigCommand(CLI::App* app, std::function<int()>* run) {
  static std::string path;
  CLI::App* config = app->add_subcommand("config", "the daemon's configuration");
  config->require_subcommand(1);
  CLI::App* check = config->add_subcommand("check", "print every problem of a file");
  check->add_option("file", path, "configuration file (TOML)")->required();
  check->callback([run] { *run = [] { return CheckConfig(path); }; });
}

}  // namespace wicket::tools
