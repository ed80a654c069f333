// wicket web: the page of the gateway on loopback, for users that may connect to its control
// socket.
#include <grp.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/signals.h"
#include "base/thread.h"
#include "edge/loopback_gate.h"
#include "edge/page.h"
#include "edge/proxy.h"
#include "edge/system_calls.h"
#include "http/server.h"
#include "sandbox/system_calls.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"

namespace wicket::tools {
namespace {

constexpr size_t kBrowserConnectionsMax = 32;
constexpr uid_t kNobody = 65534;

struct WebOptions {
  ConnectionOptions where;
  uint16_t port = 0;
};

// Root gives itself up for a user that can do no more than connect to the socket, as a member of
// its group: a browser's bytes are those of whatever page it has open.
absl::Status BecomeReader(const std::string& socket) {
  if (geteuid() != 0) return absl::OkStatus();
  struct stat info;
  if (stat(socket.c_str(), &info) != 0) {
    return ErrnoStatus(errno, absl::StrCat("stat(", socket, ")"),
                       "as root, wicket web starts when wicketd runs");
  }
  const gid_t group = info.st_gid;
  // Where only its owner's group is root's, the socket is for root alone, or for everybody.
  if (setgroups(1, &group) != 0 || setgid(group) != 0 || setuid(kNobody) != 0) {
    return ErrnoStatus(errno, "becoming nobody");
  }
  return absl::OkStatus();
}

int Web(const WebOptions& options) {
  if (const absl::Status became = BecomeReader(options.where.socket); !became.ok()) {
    return Fail(became);
  }
  // That nobody answers may change while the page is open; that it is not allowed will not.
  const absl::Status reached = Connection::OpenOnline(options.where).status();
  if (absl::IsPermissionDenied(reached)) return Fail(reached);
  if (!reached.ok()) {
    std::cerr << "wicket: " << reached.message() << "; the page shows when wicketd answers\n";
  }
  const auto made = edge::MakeToken("web", "read");
  if (!made.ok()) return Fail(made.status());
  auto tokens = edge::Tokens::Parse(made->second, "the token of this page");
  if (!tokens.ok()) return Fail(tokens.status());
  auto gate = edge::LoopbackGate::Listen(options.port, *std::move(tokens));
  if (!gate.ok()) return Fail(gate.status());
  const uint16_t port = (*gate)->port();

  const Fd signal_fd = TakeSignals({SIGTERM, SIGINT});
  DropRights();
  const absl::Status confined =
      sandbox::AllowOnly({.calls = edge::kSystemCalls, .socket_families = edge::kSocketFamilies});
  if (!confined.ok()) return Fail(confined);
  const edge::Proxy proxy(options.where.socket);
  std::vector<std::unique_ptr<http::Gate>> gates;
  gates.push_back(*std::move(gate));
  const http::Server server(std::move(gates), edge::WithPage([&proxy](http::Exchange& exchange) {
                              proxy.Handle(exchange);
                            }),
                            kBrowserConnectionsMax);
  std::cout << "http://127.0.0.1:" << port << "/#token=" << made->first << "\n"
            << "It shows, and changes nothing. Ctrl-C ends it.\n"
            << std::flush;
  signalfd_siginfo info;
  while (read(signal_fd.get(), &info, sizeof(info)) < 0) {
  }
  return kOk;
}

}  // namespace

void AddWebCommand(CLI::App* app, std::function<int()>* run) {
  static WebOptions options;
  CLI::App* command = app->add_subcommand("web", "the gateway in a browser on this machine");
  command->add_option("--socket", options.where.socket, "wicketd's control socket")
      ->type_name("PATH")
      ->capture_default_str();
  command->add_option("--port", options.port, "of 127.0.0.1; 0: any that is free")
      ->type_name("PORT")
      ->check([](const std::string& text) {
        int found = 0;
        return absl::SimpleAtoi(text, &found) && found >= 0 && found <= 65535
                   ? std::string()
                   : absl::StrCat("found ", text, "; accepted: 0 to 65535");
      })
      ->capture_default_str();
  command->footer(
      "From elsewhere: ssh -L 8080:127.0.0.1:PORT GATEWAY, with --port PORT. For a team:\n"
      "wicket-edge.");
  command->callback([run] { *run = [] { return Web(options); }; });
}

}  // namespace wicket::tools
