// wicketd, the daemon.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/signals.h"
#include "gateway/machine.h"
#include "gateway/serving.h"
#include "gateway/system_calls.h"
#include "report/service_checks.h"
#include "sandbox/system_calls.h"
#include "xsk/steering.h"
#include "xsk/pins.h"

namespace wicket::gateway {
namespace {

constexpr int kTick_ms = 500;
constexpr int kFailure = 1;
constexpr int kUsage = 2;

// What wicket doctor would say of the machine. No error: an interface may come later, for one.
void NoteFindings(const std::string& path, const absl::StatusOr<Config>& config) {
  for (const report::Finding& found : report::Diagnose(LookAtMachine(path, config), nullptr)) {
    if (found.grade == report::Grade::kOk || found.check == report::kServiceCheck) continue;
    std::cout << "note: " << found.check << ": " << found.what << "; " << found.why << " ("
              << found.mend << ")\n";
  }
}

int Check(const std::string& path) {
  const auto config = LoadConfig(path);
  if (!config.ok()) {
    std::cerr << config.status().message() << "\n";
    return kFailure;
  }
  for (const std::string& note : config->notes) std::cout << "note: " << note << "\n";
  NoteFindings(path, config);
  bool all_usable = true;
  for (const absl::Status& usable :
       {http::CheckOptions(config->control), xsk::CheckPinDir(config->pin_dir)}) {
    if (usable.ok()) continue;
    std::cerr << path << ": " << usable.message() << "\n";
    all_usable = false;
  }
  if (!all_usable) return kFailure;
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
  const auto detached = xsk::DetachAll(pin_dir);
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

// Tells the service manager what is served, and that all threads make progress. A hung thread is
// logged once; the manager's watchdog then ends the process.
class Notifier {
 public:
  void Tick(const Serving& serving) {
    const std::string hanging = serving.HangingThread();
    if (hanging.empty()) {
      sd_notify(0, "WATCHDOG=1");
    } else if (hanging != hanging_) {
      Log(LogLevel::kError, "thread ", hanging, " makes no progress; the watchdog is not fed");
    }
    hanging_ = hanging;
    const std::string summary = serving.Summary();
    if (summary != std::exchange(summary_, summary)) {
      sd_notify(0, absl::StrCat("STATUS=", summary).c_str());
    }
  }

 private:
  std::string hanging_, summary_;
};

// After the first start, so that the C library has loaded what it loads for users and groups.
absl::Status Confine() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return absl::OkStatus();  // sanitizers make calls of their own
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
  return absl::OkStatus();
#endif
#endif
  return sandbox::AllowOnly({.calls = kSystemCalls, .socket_families = kSocketFamilies});
}

int Run(const std::string& path) {
  const auto config = LoadConfig(path);
  if (!config.ok()) {
    std::cerr << config.status().message() << "\n";
    return kFailure;
  }
  SetLogLevel(config->log_level);
  HardenProcess();
  const Fd signal_fd = TakeSignals({SIGTERM, SIGINT, SIGHUP}, SFD_NONBLOCK);

  InstantNow();         // finds the boot's name, before any thread needs it
  const LogThread log;  // a log that nobody reads stops no thread
  for (const std::string& note : config->notes) Log(LogLevel::kWarning, note);
  Serving serving(path, *config);
  if (const absl::Status started = serving.Start(); !started.ok()) {
    Log(LogLevel::kError, started.message());
    return kFailure;
  }
  if (const absl::Status confined = Confine(); !confined.ok()) {
    Log(LogLevel::kWarning, confined.message(), "; any system call stays allowed");
  }
  sd_notify(0, "READY=1");
  Log(LogLevel::kInfo, "ready");
  Notifier notifier;
  for (;;) {
    pollfd fds[] = {{signal_fd.get(), POLLIN, 0}, {serving.wake_fd(), POLLIN, 0}};
    poll(fds, 2, kTick_ms);
    signalfd_siginfo info;
    while (read(signal_fd.get(), &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo == SIGHUP) {
        serving.Reload().IgnoreError();
        continue;
      }
      sd_notify(0, "STOPPING=1");
      Log(LogLevel::kInfo, "stopping: installed peers and the XDP program stay");
      return 0;
    }
    serving.Tick();
    notifier.Tick(serving);
  }
}

int Main(int argc, char** argv) {
  CLI::App app("Wicket: puts a WireGuard peer into the device when its own handshake arrives.",
               "wicketd");
  std::string config;
  bool check = false, detach = false, reference = false;
  app.add_option("-c,--config", config, "configuration file (TOML)")->type_name("FILE");
  app.add_flag("--check", check, "check the configuration, print every problem, touch nothing");
  app.add_flag("--detach", detach, "remove our XDP program and pins from every interface");
  app.add_flag("--config-reference", reference)->group("");  // for scripts/make-docs
  app.set_version_flag("--version", "wicketd " WICKET_VERSION);
  app.footer(
      "Exit status: 0 stopped, 1 failed, 2 wrong usage.\n"
      "Signals: HUP reloads the configuration, TERM and INT stop.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ExtrasError&) {  // it would list them backwards
    std::cerr << "wicketd: not expected: " << absl::StrJoin(app.remaining(true), " ")
              << " (--help tells more)\n";
    return kUsage;
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (reference) {
    std::cout << ConfigReference();
    return 0;
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
