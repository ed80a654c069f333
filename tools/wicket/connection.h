// The way from a command to the peers: a running wicketd's socket, or, when none runs, the store
// itself; or the wicket-edge of a gateway elsewhere. The requests are the same.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/key.h"
#include "base/status.h"

namespace CLI {
class App;
}

namespace wicket::tools {

struct ConnectionOptions {
  std::string socket = "/run/wicket/control.sock";
  std::string store = "/var/lib/wicket";
  std::string device;    // empty: the one there is
  bool offline = false;  // do not try the socket
  std::string remote;    // of remotes.toml; empty: the gateway on this machine
  absl::Duration patience = absl::Seconds(20);  // without a byte sent or answered
};

struct Answer {
  unsigned status = 0;
  std::string text;
};

// Thread: one.
class Connection {
 public:
  // To the store when no daemon answers and options.remote is empty. No wicketd can take that store
  // while the connection is open. Errors: Unavailable says why no daemon answers, and why the store
  // cannot be had; of a remote, those of OpenOnline().
  static absl::StatusOr<std::unique_ptr<Connection>> Open(const ConnectionOptions& options);
  // A daemon only. Errors: NotFound when none listens; for a remote, those of FindRemote() and
  // ConnectTo(), with NotFound among them.
  static absl::StatusOr<std::unique_ptr<Connection>> OpenOnline(const ConnectionOptions& options);
  ~Connection();

  bool online() const;
  // What answers, for messages: "wicketd at SOCKET", "wicket-edge at HOST port PORT", or "the store
  // DIR, offline".
  const std::string& where() const;

  // The device that is meant: that of the options, the only one, or the one that stores the peer
  // `key`. Of a store, without `key`: the device of its first peer, also when it has several.
  // Errors: InvalidArgument asks for --device; those of Devices().
  absl::StatusOr<std::string> Device(const PublicKey* key = nullptr);

  // The devices a running daemon serves; none of a store. Errors: also those of the answer.
  absl::StatusOr<std::vector<std::string>> Devices();

  // One request. Errors: only those of the connection; an error answer is an Answer.
  absl::StatusOr<Answer> Call(const std::string& method, const std::string& target,
                              const std::string& body = "");
  // An answer as it comes, in pieces, until it ends or `piece` returns false. After the latter, or
  // an error, the connection is of no more use.
  // `body` gives the request's body in pieces; empty at its end. Only PUT and POST have one.
  // Returns: the HTTP status. Errors: Unavailable.
  absl::StatusOr<unsigned> Stream(const std::string& method, const std::string& target,
                                  const std::function<std::string()>& body,
                                  const std::function<bool(absl::string_view)>& piece);

 private:
  struct State;
  explicit Connection(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// "/v1/devices/wg0/peers/...". `device` and `key` are escaped, `rest` is taken as it is.
std::string PathOf(absl::string_view device, absl::string_view rest,
                   const PublicKey* key = nullptr);
std::string Escape(absl::string_view text);

// Opens a connection, and says on standard error when it is not to a daemon.
absl::StatusOr<std::unique_ptr<Connection>> OpenTelling(const ConnectionOptions& options);
// An error answer as a status; ok otherwise. Errors: InvalidArgument for 400, NotFound for 404,
// AlreadyExists for 409, Internal for all others.
absl::Status ErrorOf(const Answer& answer);
absl::StatusOr<PublicKey> ReadKey(const std::string& text);
// For CLI11: what is wrong with a key; empty when nothing is.
std::string CheckKey(const std::string& text);
// One request about the peer that `key` names, and `rest` of its path.
// Errors: also those of the answer.
absl::StatusOr<Answer> CallForPeer(Connection& connection, const std::string& method,
                                   const std::string& key, const std::string& rest = "",
                                   const std::string& body = "");
// Prints an error. Returns: the exit status that goes with it.
int Fail(const absl::Status& status);
void AddConnectionOptions(CLI::App* command, ConnectionOptions* options);
void AddRemoteOption(CLI::App* command, std::string* remote);
// For commands that can work beside a running daemon.
void AddOfflineOption(CLI::App* command, ConnectionOptions* options);

}  // namespace wicket::tools
