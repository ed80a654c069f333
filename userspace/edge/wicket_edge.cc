// wicket-edge, the network face: HTTPS with tokens and roles before wicketd's Unix socket. It has
// no right but to that socket.
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/signals.h"
#include "base/thread.h"
#include "edge/access.h"
#include "edge/callers.h"
#include "edge/config.h"
#include "edge/metrics.h"
#include "edge/page.h"
#include "edge/proxy.h"
#include "edge/system_calls.h"
#include "edge/tls_gate.h"
#include "http/server.h"
#include "sandbox/system_calls.h"

namespace wicket::edge {
namespace {

constexpr int kFailure = 1;
constexpr int kUsage = 2;

// Half of wicketd's 256 connections: the other half stays free for callers of its Unix socket.
constexpr size_t kConnectionsMax = 128;

using Gates = std::vector<std::unique_ptr<http::Gate>>;

// The sockets that the service manager passed, or those of `config`.
absl::StatusOr<Gates> OpenGates(const Config& config, const Access* access, Callers* callers) {
  Gates gates;
  const int passed = sd_listen_fds(1);
  for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + passed; ++fd) {
    gates.push_back(std::make_unique<TlsGate>(Fd(fd), access, callers));
  }
  for (const Endpoint& endpoint : config.listen) {
    WICKET_ASSIGN_OR_RETURN(auto gate, TlsGate::Listen(endpoint, access, callers));
    gates.push_back(std::move(gate));
  }
  if (!gates.empty()) return gates;
  return absl::FailedPreconditionError(
      "listen: nothing, and no socket from the service manager; accepted: [\"0.0.0.0:8443\"] or a "
      "systemd socket unit");
}

// What can be changed while it runs: certificate, tokens, clients. Of the rest the file is told.
void Reload(const std::string& path, const Config& running, Access* access) {
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
             static_cast<unsigned long long>(SteadyNanos() / 1000));
  const auto config = Config::Load(path);
  const absl::Status loaded = config.ok() ? access->Load(*config) : config.status();
  if (loaded.ok()) {
    const bool restart = config->listen != running.listen || config->socket != running.socket ||
                         config->connections_per_address != running.connections_per_address ||
                         config->failures_per_minute != running.failures_per_minute;
    Log(LogLevel::kInfo, "reloaded: certificate, tokens and clients",
        restart ? "; listen, socket and limits need a restart" : "");
  } else {
    Log(LogLevel::kError, "reload: what could not be loaded stays as it was: ", loaded.message());
  }
  sd_notify(0, "READY=1");
}

int Fail(const absl::Status& status) {
  std::cerr << "wicket-edge: " << status.message() << "\n";
  return kFailure;
}

int Check(const std::string& path) {
  const auto config = Config::Load(path);
  if (!config.ok()) return Fail(config.status());
  Access access;
  if (const absl::Status loaded = access.Load(*config); !loaded.ok()) return Fail(loaded);
  std::cout << path << ": ok (the certificate is valid until "
            << absl::FormatTime("%Y-%m-%d", access.latest()->tls.expires(), absl::UTCTimeZone())
            << ")\n";
  return 0;
}

int Run(const std::string& path) {
  if (geteuid() == 0) {
    std::cerr << "wicket-edge: it reads what strangers send, so it does not run as root "
                 "(the unit runs it as wicket-edge)\n";
    return kFailure;
  }
  const auto config = Config::Load(path);
  if (!config.ok()) return Fail(config.status());
  const Fd signal_fd = TakeSignals({SIGTERM, SIGINT, SIGHUP});
  const LogThread log;
  Access access;
  if (const absl::Status loaded = access.Load(*config); !loaded.ok()) return Fail(loaded);
  Callers callers(config->connections_per_address, config->failures_per_minute);
  auto gates = OpenGates(*config, &access, &callers);
  if (!gates.ok()) return Fail(gates.status());
  DropRights();
  const absl::Status confined =
      sandbox::AllowOnly({.calls = kSystemCalls, .socket_families = kSocketFamilies});
  if (!confined.ok()) return Fail(confined);
  const Proxy proxy(config->socket, [&] { return Metrics(access, callers); });
  http::Server server(*std::move(gates),
                      WithPage([&proxy](http::Exchange& exchange) { proxy.Handle(exchange); }),
                      kConnectionsMax);
  sd_notify(0, "READY=1");
  Log(LogLevel::kInfo, "ready; passes requests on to ", config->socket);
  signalfd_siginfo info;
  while (read(signal_fd.get(), &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGHUP) {
      Reload(path, *config, &access);
      continue;
    }
    break;
  }
  sd_notify(0, "STOPPING=1");
  Log(LogLevel::kInfo, "stopping");
  return 0;
}

int NewToken(const std::vector<std::string>& words) {
  const auto made = MakeToken(words[0], words[1]);
  if (!made.ok()) {
    std::cerr << "wicket-edge: " << made.status().message() << "\n";
    return kUsage;
  }
  std::cerr << "the token, for its holder; it is told once:\n";
  std::cout << made->first << "\n" << std::flush;
  std::cerr << "its line for the file of `tokens`:\n" << made->second << "\n";
  return 0;
}

int Main(int argc, char** argv) {
  CLI::App app("The network face of a Wicket gateway: HTTPS, tokens and roles before wicketd.",
               "wicket-edge");
  std::string config;
  bool check = false, reference = false;
  std::vector<std::string> new_token;
  app.add_option("-c,--config", config, "configuration file (TOML)")->type_name("FILE");
  app.add_flag("--check", check, "check the configuration, its certificate and tokens");
  app.add_option("--new-token", new_token, "make a token; ROLE: metrics, read, write")
      ->type_name("NAME ROLE")
      ->expected(2);
  app.add_flag("--config-reference", reference)->group("");  // for scripts/make-docs
  app.set_version_flag("--version", "wicket-edge " WICKET_VERSION);
  app.footer(
      "Exit status: 0 stopped, 1 failed, 2 wrong usage.\n"
      "Signals: HUP reloads certificate, tokens and clients, TERM and INT stop.");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  if (reference) {
    std::cout << Config::Reference();
    return 0;
  }
  if (!new_token.empty()) return NewToken(new_token);
  if (config.empty()) {
    std::cerr << "wicket-edge: --config FILE is missing (--help tells more)\n";
    return kUsage;
  }
  return check ? Check(config) : Run(config);
}

}  // namespace
}  // namespace wicket::edge

int main(int argc, char** argv) { return wicket::edge::Main(argc, argv); }
