// wicketd, the daemon.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/fd.h"
#include "base/log.h"
#include "gateway/gateway.h"

namespace wicket::gateway {
namespace {

constexpr int kTick_ms = 500;
constexpr absl::Duration kStartInterval = absl::Seconds(1);  // of a gateway that had to stop
constexpr int kFailure = 1;
constexpr int kUsage = 2;

int Check(const std::string& path) {
  const auto config = LoadConfig(path);
  if (!config.ok()) {
    std::cerr << config.status().message() << "\n";
    return kFailure;
  }
  std::cout << path << ": ok (" << config->nics.size() << " NICs, " << config->devices.size()
            << " devices)\n";
  return 0;
}

int Detach(const std::string& path) {
  // Without a file the default place of the pins is meant.
  std::string pin_dir = Config{}.pin_dir;
  if (!path.empty()) {
    const auto config = LoadConfig(path);
    if (!config.ok()) {
      std::cerr << config.status().message() << "\n";
      return kFailure;
    }
    pin_dir = config->pin_dir;
  }
  const auto detached = xsk::Steering::DetachAll(pin_dir);
  if (!detached.ok()) {
    std::cerr << "wicketd: " << detached.status().message() << "\n";
    return kFailure;
  }
  std::cout << "detached from "
            << (detached->empty() ? "no interface" : absl::StrJoin(*detached, ", "))
            << "; pins under " << pin_dir << " removed\n";
  return 0;
}

// What must hold before the private key is read: no core file, no ptrace by
// others. And descriptors for many queues.
void HardenProcess() {
  prctl(PR_SET_DUMPABLE, 0);
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
}

// `gateway` may be away.
void ReloadFrom(const std::string& path, Gateway* gateway) {
  sd_notify(0, "RELOADING=1");
  const auto config = LoadConfig(path);
  if (!config.ok()) {
    Log(LogLevel::kError, "reload: the old configuration stays: ", config.status().message());
  } else if (gateway != nullptr) {
    const auto restart = gateway->Reload(*config);
    Log(LogLevel::kInfo, "reloaded ", path,
        restart.empty() ? "" : absl::StrCat("; needs a restart: ", absl::StrJoin(restart, ", ")));
  }
  sd_notify(0, "READY=1");
}

int Run(const std::string& path) {
  const auto config = LoadConfig(path);
  if (!config.ok()) {
    std::cerr << config.status().message() << "\n";
    return kFailure;
  }
  SetLogLevel(config->log_level);
  HardenProcess();
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);  // before any thread is made
  const Fd signal_fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  signal(SIGPIPE, SIG_IGN);

  auto gateway = Gateway::Start(*config);
  if (!gateway.ok()) {
    Log(LogLevel::kError, gateway.status().message());
    return kFailure;
  }
  sd_notify(0, "READY=1");
  Log(LogLevel::kInfo, "ready");
  for (absl::Time next_start = absl::InfinitePast();;) {
    pollfd fd{signal_fd.get(), POLLIN, 0};
    poll(&fd, 1, kTick_ms);
    signalfd_siginfo info;
    while (read(signal_fd.get(), &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo == SIGHUP) {
        ReloadFrom(path, gateway.ok() ? gateway->get() : nullptr);
        continue;
      }
      sd_notify(0, "STOPPING=1");
      Log(LogLevel::kInfo, "stopping: installed peers and the XDP program stay");
      gateway = absl::CancelledError();
      return 0;
    }
    if (gateway.ok()) {
      const absl::Status usable = (*gateway)->Tick();
      if (usable.ok()) continue;
      Log(LogLevel::kError, usable.message(), "; opening it anew, installed peers stay");
      gateway = usable;
    } else if (absl::Now() >= next_start) {
      next_start = absl::Now() + kStartInterval;
      gateway = Gateway::Start(*config);
      Log(gateway.ok() ? LogLevel::kInfo : LogLevel::kError,
          gateway.ok() ? "ready again" : std::string(gateway.status().message()));
    }
  }
}

int Main(int argc, char** argv) {
  CLI::App app("Wicket: puts a WireGuard peer into the device when its own handshake arrives.",
               "wicketd");
  std::string config;
  bool check = false, detach = false;
  app.add_option("-c,--config", config, "configuration file (TOML)")->type_name("FILE");
  app.add_flag("--check", check, "check the configuration, print every problem, touch nothing");
  app.add_flag("--detach", detach, "remove our XDP program and pins from every interface");
  app.set_version_flag("--version", "wicketd " WICKET_VERSION);
  app.footer(
      "Exit status: 0 stopped, 1 failed, 2 wrong usage.\n"
      "Signals: HUP reloads the configuration, TERM and INT stop.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (detach) return Detach(config);
  if (config.empty()) {
    std::cerr << "wicketd: --config FILE is missing (--help tells more)\n";
    return kUsage;
  }
  return check ? Check(config) : Run(config);
}

}  // namespace
}  // namespace wicket::gateway

int main(int argc, char** argv) { return wicket::gateway::Main(argc, argv); }
