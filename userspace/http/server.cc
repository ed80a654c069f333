#include "http/server.h"

#include <grp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <system_error>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/address.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "crypto/curve25519.h"
#include "http/transport.h"

namespace wicket::http {
namespace {

constexpr int kBacklog = 128;
constexpr int kReap_ms = 1000;
constexpr size_t kRefusedMax = 128;
constexpr absl::Duration kRefusedFor = absl::Seconds(1);
constexpr useconds_t kNoDescriptors_us = 100'000;
constexpr size_t kTokenBytesMin = 16;

absl::StatusOr<gid_t> GroupId(const std::string& name) {
  std::vector<char> buffer(1 << 16);
  group entry, *found = nullptr;
  if (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found) {
    return absl::NotFoundError(absl::StrCat("control: no group \"", name, "\" on this system"));
  }
  return entry.gr_gid;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  struct stat info;
  std::ifstream file(path);
  std::string token;
  std::getline(file, token);
  token = std::string(absl::StripAsciiWhitespace(token));
  if (!file || stat(path.c_str(), &info) != 0 || token.size() < kTokenBytesMin) {
    return absl::InvalidArgumentError(absl::StrCat(
        "control.tcp.token_file ", path, ": cannot be read, or its first line has less than ",
        kTokenBytesMin, " characters"));
  }
  if (info.st_mode & 077) {
    return absl::InvalidArgumentError(
        absl::StrCat("control.tcp.token_file ", path, ": others can read it (chmod 600)"));
  }
  return token;
}

bool IsMember(int fd, gid_t primary, gid_t wanted) {
  if (primary == wanted) return true;
  std::vector<gid_t> groups(256);
  socklen_t bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) != 0) return false;
  groups.resize(bytes / sizeof(gid_t));
  return std::find(groups.begin(), groups.end(), wanted) != groups.end();
}

}  // namespace

Server::Server(Options options, Handler handler)
    : options_(std::move(options)), handler_(std::move(handler)), wake_(eventfd(0, EFD_CLOEXEC)) {}

absl::Status CheckOptions(const Options& options) {
  for (const std::string& name : {options.group, options.write_group}) {
    if (!name.empty()) WICKET_RETURN_IF_ERROR(GroupId(name).status());
  }
  if (!options.tcp) return absl::OkStatus();
  if (!options.tcp->token_file.empty()) {
    WICKET_RETURN_IF_ERROR(ReadToken(options.tcp->token_file).status());
  }
  if (options.tcp->tls_certificate.empty()) return absl::OkStatus();
  return TlsContext::Load(options.tcp->tls_certificate, options.tcp->tls_key).status();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const Options& options, Handler handler) {
  std::unique_ptr<Server> server(new Server(options, std::move(handler)));
  WICKET_RETURN_IF_ERROR(server->Listen());
  if (options.tcp) WICKET_RETURN_IF_ERROR(server->ListenTcp());
  server->thread_ = std::thread([s = server.get()] { s->Loop(); });
  return server;
}

Server::~Server() {
  stopping_ = true;
  eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
  {
    const std::lock_guard lock(mutex_);
    for (Connection& connection : connections_) connection.transport->Shutdown();
  }
  for (Connection& connection : connections_) connection.thread.join();
}

absl::Status Server::Listen() {
  std::optional<gid_t> group;
  if (!options_.group.empty()) {
    WICKET_ASSIGN_OR_RETURN(group, GroupId(options_.group));
  }
  if (!options_.write_group.empty()) {
    WICKET_ASSIGN_OR_RETURN(write_gid_, GroupId(options_.write_group));
  }
  WICKET_ASSIGN_OR_RETURN(UnixListener listener,
                          UnixListener::Bind(options_.socket, kBacklog, group));
  unix_.emplace(std::move(listener));
  return absl::OkStatus();
}

absl::Status Server::ListenTcp() {
  const TcpOptions& tcp = *options_.tcp;
  const std::string name = absl::StrCat(tcp.address, " port ", tcp.port);
  const auto address = ParseAddress(tcp.address);
  if (!address) return absl::InvalidArgumentError(absl::StrCat("control.tcp: ", name));
  if (!tcp.token_file.empty()) {
    WICKET_ASSIGN_OR_RETURN(token_, ReadToken(tcp.token_file));
  }
  if (!tcp.tls_certificate.empty()) {
    WICKET_ASSIGN_OR_RETURN(TlsContext tls, TlsContext::Load(tcp.tls_certificate, tcp.tls_key));
    tls_ = std::make_unique<TlsContext>(std::move(tls));
  }
  sockaddr_storage storage;
  const socklen_t bytes = ToSockaddr({*address, tcp.port, 0}, &storage);
  Fd fd(socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), bytes) != 0) {
    return ErrnoStatus(errno, absl::StrCat("bind(", name, ")"));
  }
  if (listen(fd.get(), kBacklog) != 0)
    return ErrnoStatus(errno, absl::StrCat("listen(", name, ")"));
  tcp_ = std::move(fd);
  return absl::OkStatus();
}

void Server::Loop() {
  NameThread("control");
  ServeOperators();  // and so do the threads it makes
  DropRights();
  while (!stopping_) {
    pollfd fds[] = {{wake_.get(), POLLIN, 0}, {unix_->fd(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
    poll(fds, tcp_.valid() ? 3 : 2, kReap_ms);
    Reap();
    if (fds[1].revents & POLLIN) Accept(unix_->fd());
    if (tcp_.valid() && (fds[2].revents & POLLIN)) Accept(tcp_.get());
  }
}

void Server::Reap() {
  while (!refused_.empty() && SteadyNow() - refused_.front().first > kRefusedFor) {
    refused_.pop_front();
  }
  std::list<Connection> ended;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = connections_.begin(); it != connections_.end();) {
      const auto next = std::next(it);
      if (it->ended) ended.splice(ended.end(), connections_, it);
      it = next;
    }
  }
  for (Connection& connection : ended) connection.thread.join();
}

void Server::Accept(int listener) {
  Fd fd(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid()) {
    if (errno == EMFILE || errno == ENFILE) usleep(kNoDescriptors_us);
    return;
  }
  const Caller caller = listener == tcp_.get() ? Caller{.over_tcp = true} : UnixCaller(fd.get());
  const std::lock_guard lock(mutex_);
  if (!HasRoomFor(caller)) return Refuse(std::move(fd));
  Connection& connection = connections_.emplace_back();
  connection.transport = caller.over_tcp && tls_ ? tls_->Wrap(std::move(fd))
                                                 : std::make_unique<Transport>(std::move(fd));
  connection.over_tcp = caller.over_tcp;
  try {
    connection.thread = std::thread([this, &connection, caller] { Serve(&connection, caller); });
  } catch (const std::system_error& error) {
    Log(LogLevel::kError, "control: no thread for a connection: ", error.what());
    connections_.pop_back();
  }
}

// Readers may stay for a minute each, and must not keep an operator out. Requires: mutex_.
bool Server::HasRoomFor(const Caller& caller) const {
  if (connections_.size() >= kConnectionsMax) return false;
  if (caller.privileged) return true;
  if (connections_.size() >= kConnectionsMax - kKeptForRoot) return false;
  if (!caller.over_tcp) return true;
  const auto over_tcp = static_cast<size_t>(std::count_if(
      connections_.begin(), connections_.end(), [](const Connection& c) { return c.over_tcp; }));
  return over_tcp < kTcpConnectionsMax;
}

// A word of why, if it can be said without waiting. Closed at once it would be reset under a
// client that still sends, answer and all.
void Server::Refuse(Fd fd) {
  constexpr absl::string_view kFull =
      "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: "
      "application/json\r\nRetry-After: 1\r\nContent-Length: 84\r\n\r\n"
      "{\"error\":{\"code\":\"unavailable\",\"message\":\"there are too many connections "
      "already\"}}\n";
  send(fd.get(), kFull.data(), kFull.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  shutdown(fd.get(), SHUT_WR);
  refused_.emplace_back(SteadyNow(), std::move(fd));
  if (refused_.size() > kRefusedMax) refused_.pop_front();
}

void ServeConnection(Transport& transport, const Handler& handler,
                     const std::atomic<bool>& stopping,
                     const std::function<Role(const std::string&)>& role_of) {
  transport.ExpireIn(Exchange::kPatience);
  if (!transport.Accept().ok()) return;
  ReadAhead read_ahead;
  for (bool more = true; more && !stopping;) {
    Exchange exchange(&transport, &read_ahead, &stopping);
    if (!exchange.ReadHeader()) {
      exchange.Linger();
      break;
    }
    exchange.role = role_of(exchange.header("Authorization"));
    handler(exchange);
    more = exchange.keep_alive();
    if (!more) exchange.Linger();
  }
}

void Server::Serve(Connection* connection, Caller caller) {
  NameThread("control/conn");
  ServeConnection(*connection->transport, handler_, stopping_,
                  [&](const std::string& authorization) {
                    return caller.over_tcp ? TokenRole(authorization) : caller.role;
                  });
  connection->transport->Shutdown();
  const std::lock_guard lock(mutex_);
  connection->ended = true;
}

// The file's permissions have let the caller in; its user and groups say how far.
Server::Caller Server::UnixCaller(int fd) const {
  ucred peer{};
  socklen_t bytes = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return {};
  if (peer.uid == 0 || peer.uid == geteuid()) return {.role = Role::kWrite, .privileged = true};
  const bool writes = !write_gid_ || IsMember(fd, peer.gid, *write_gid_);
  return {.role = writes ? Role::kWrite : Role::kRead};
}

Role Server::TokenRole(const std::string& authorization) const {
  if (token_.empty()) return Role::kRead;
  absl::string_view given = authorization;
  if (!absl::ConsumePrefix(&given, "Bearer ") || given.size() != token_.size()) return Role::kNone;
  return crypto::Equal(reinterpret_cast<const uint8_t*>(given.data()),
                       reinterpret_cast<const uint8_t*>(token_.data()), token_.size())
             ? Role::kWrite
             : Role::kNone;
}

}  // namespace wicket::http
