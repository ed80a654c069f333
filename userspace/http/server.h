// Serves HTTP on a Unix socket and, where configured, on TCP.
//
// A thread for each connection, of which there are few: the callers are a
// platform's provisioning and an operator, not clients.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/fd.h"
#include "http/exchange.h"
#include "http/unix_listener.h"

namespace wicket::http {

class TlsContext;
class Transport;

// Gives exactly one answer. Thread: any number at once.
using Handler = std::function<void(Exchange&)>;

struct TcpOptions {
  std::string address;  // "127.0.0.1", "::1"
  uint16_t port = 0;
  // Both or none; none only on loopback.
  std::string tls_certificate, tls_key;  // PEM files
  // Holds the token that may write. Empty, on loopback only: all may read, none write.
  std::string token_file;

  friend bool operator==(const TcpOptions&, const TcpOptions&) = default;
};

struct Options {
  std::string socket = "/run/wicket/control.sock";
  std::string group;        // of the socket, whose members may connect; empty: the daemon's
  std::string write_group;  // whose members may write; empty: all that may connect
  std::optional<TcpOptions> tcp;

  friend bool operator==(const Options&, const Options&) = default;
};

// Checks everything that can be checked before a socket is opened: groups, the token's file, TLS.
absl::Status CheckOptions(const Options& options);

// Answers all requests of one connection, until either side ends it.
// `role_of` is asked with each request's Authorization header.
void ServeConnection(Transport& transport, const Handler& handler,
                     const std::atomic<bool>& stopping,
                     const std::function<Role(const std::string& authorization)>& role_of);

// Thread: one makes and destroys it.
class Server {
 public:
  static constexpr size_t kConnectionsMax = 256;
  static constexpr size_t kKeptForRoot = 16;  // only root and the daemon's user take the last ones
  static constexpr size_t kTcpConnectionsMax = 64;

  // Begins to serve. What `handler` uses outlives the server.
  // Errors: name the socket, group or file that cannot be used; FailedPrecondition when a living
  //         process serves the socket.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const Options& options, Handler handler);
  // Ends all connections and removes the socket that Start made.
  ~Server();

 private:
  struct Connection {
    std::unique_ptr<Transport> transport;
    std::thread thread;
    bool over_tcp = false;
    bool ended = false;  // under mutex_
  };

  // The other end of a connection.
  struct Caller {
    Role role = Role::kNone;
    bool over_tcp = false;
    bool privileged = false;  // root, or the daemon's own user
  };

  Server(Options options, Handler handler);
  absl::Status Listen();
  absl::Status ListenTcp();
  void Loop();
  void Accept(int listener);
  bool HasRoomFor(const Caller& caller) const;
  void Refuse(Fd fd);
  void Serve(Connection* connection, Caller caller);
  void Reap();
  Caller UnixCaller(int fd) const;
  Role TokenRole(const std::string& authorization) const;

  Options options_;
  Handler handler_;
  std::optional<UnixListener> unix_;  // after Start
  Fd tcp_, wake_;
  std::optional<unsigned> write_gid_;
  std::string token_;
  std::unique_ptr<TlsContext> tls_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::list<Connection> connections_;
  // Answered, and closed a little after this steady time.
  std::deque<std::pair<absl::Duration, Fd>> refused_;
  std::thread thread_;
};

}  // namespace wicket::http
