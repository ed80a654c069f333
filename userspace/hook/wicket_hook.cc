// wicket-hook brings a gateway's events to other programs, as signed HTTPS requests. It has no
// right but to wicketd's control socket and to its own queue.
#include <curl/curl.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/thread.h"
#include "crypto/curve25519.h"
#include "hook/config.h"
#include "hook/hook.h"
#include "sandbox/system_calls.h"

namespace wicket::hook {
namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;

// Beside what every program of threads needs: connections and the look-up of names, and the files
// of the queue.
constexpr char kCalls[] =
    "access bind capset connect faccessat faccessat2 fadvise64 fallocate fdatasync flock fstatfs "
    "fsync ftruncate getpeername getsockname getsockopt ioctl lstat mkdir msync open openat pipe2 "
    "preadv pwritev readlink readlinkat recvfrom recvmmsg recvmsg sched_setattr sendmmsg sendmsg "
    "sendto setpriority setsockopt shutdown signalfd4 socketpair stat statfs statx uname unlink";
constexpr int kFamilies[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK};

int Fail(const absl::Status& status) {
  std::cerr << "wicket-hook: " << status.message() << "\n";
  return kFailure;
}

// Errors: also what makes a file unusable that the configuration names.
absl::StatusOr<std::vector<SigningSecret>> LoadSecrets(const Config& config) {
  std::vector<SigningSecret> secrets;
  for (const HookConfig& hook : config.hooks) {
    WICKET_ASSIGN_OR_RETURN(SigningSecret secret, SigningSecret::Load(hook.secret_file));
    secrets.push_back(std::move(secret));
    if (!hook.ca.empty() && access(hook.ca.c_str(), R_OK) != 0) {
      return ErrnoStatus(errno, absl::StrCat("ca: open(", hook.ca, ")"));
    }
  }
  return secrets;
}

int Check(const std::string& path) {
  const auto config = Config::Load(path);
  if (!config.ok()) return Fail(config.status());
  if (const auto secrets = LoadSecrets(*config); !secrets.ok()) return Fail(secrets.status());
  std::cout << path << ": ok (" << config->hooks.size() << " hooks)\n";
  return 0;
}

int Run(const std::string& path) {
  if (geteuid() == 0) {
    std::cerr << "wicket-hook: it needs no right of root's, so it does not run as root (the unit "
                 "runs it as wicket-hook)\n";
    return kFailure;
  }
  const auto config = Config::Load(path);
  if (!config.ok()) return Fail(config.status());
  auto secrets = LoadSecrets(*config);
  if (!secrets.ok()) return Fail(secrets.status());
  std::vector<Queue> queues;
  if (mkdir(config->queue.c_str(), 0750) != 0 && errno != EEXIST) {
    return Fail(ErrnoStatus(errno, absl::StrCat("queue: mkdir(", config->queue, ")")));
  }
  for (const HookConfig& hook : config->hooks) {
    auto queue = Queue::Open(absl::StrCat(config->queue, "/", hook.name), hook.queue_max);
    if (!queue.ok()) return Fail(queue.status());
    queues.push_back(*std::move(queue));
  }
  const Fd signal_fd = TakeSignals({SIGTERM, SIGINT});
  curl_global_init(CURL_GLOBAL_DEFAULT);
  const LogThread log;
  DropRights();
  const absl::Status confined = sandbox::AllowOnly({.calls = kCalls, .socket_families = kFamilies});
  if (!confined.ok()) return Fail(confined);
  std::vector<std::unique_ptr<Hook>> hooks;
  for (size_t i = 0; i < config->hooks.size(); ++i) {
    hooks.push_back(std::make_unique<Hook>(config->hooks[i], config->socket,
                                           std::move((*secrets)[i]), std::move(queues[i])));
  }
  sd_notify(0, "READY=1");
  Log(LogLevel::kInfo, "ready; ", hooks.size(), " hooks");
  signalfd_siginfo info;
  while (read(signal_fd.get(), &info, sizeof(info)) < 0) {
  }
  sd_notify(0, "STOPPING=1");
  Log(LogLevel::kInfo, "stopping");
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("Brings a gateway's events to other programs, as signed HTTPS requests.",
               "wicket-hook");
  std::string config;
  bool check = false, new_secret = false, reference = false;
  app.add_option("-c,--config", config, "configuration file (TOML)")->type_name("FILE");
  app.add_flag("--check", check, "check the configuration and the files it names");
  app.add_flag("--new-secret", new_secret, "print a secret for secret_file, and for the receiver");
  app.add_flag("--config-reference", reference)->group("");  // for scripts/make-docs
  app.set_version_flag("--version", "wicket-hook " WICKET_VERSION);
  app.footer("Exit status: 0 stopped, 1 failed, 2 wrong usage. Signals: TERM and INT stop.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (reference) {
    std::cout << Config::Reference();
    return 0;
  }
  if (new_secret) {
    std::cout << SigningSecret::Make() << "\n";
    return 0;
  }
  if (config.empty()) {
    std::cerr << "wicket-hook: --config FILE is missing (--help tells more)\n";
    return kUsage;
  }
  return check ? Check(config) : Run(config);
}

}  // namespace
}  // namespace wicket::hook

int main(int argc, char** argv) {
  if (const absl::Status ready = wicket::crypto::Initialize(); !ready.ok()) {
    return wicket::hook::Fail(ready);
  }
  return wicket::hook::Main(argc, argv);
}
