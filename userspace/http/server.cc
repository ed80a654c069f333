#include "http/server.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "absl/time/clock.h"
#include "base/address.h"
#include "base/log.h"
#include "base/thread.h"
#include "crypto/curve25519.h"

namespace wicket::http {
namespace {

constexpr int kBacklog = 128;
constexpr int kReap_ms = 1000;
constexpr size_t kRefusedMax = 128;
constexpr absl::Duration kRefusedFor = absl::Seconds(1);
constexpr useconds_t kNoDescriptors_us = 100'000;
constexpr size_t kTokenBytesMin = 16;
constexpr mode_t kSocketMode = 0660;

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
  if (unix_.valid()) unlink(options_.socket.c_str());
}

absl::Status Server::Listen() {
  const std::string& path = options_.socket;
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("control.socket ", path, ": longer than ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  path.copy(address.sun_path, path.size());
  const auto folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  // The store's lock is ours, so a socket that is still there is a dead daemon's.
  struct stat info;
  if (lstat(path.c_str(), &info) == 0 && S_ISSOCK(info.st_mode)) unlink(path.c_str());
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  // Nobody may connect before mode and group are right.
  const mode_t before = umask(0777);
  const int bound = bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address));
  const int bind_errno = errno;
  umask(before);
  if (bound != 0) return ErrnoStatus(bind_errno, absl::StrCat("bind(", path, ")"));
  unix_ = std::move(fd);  // from here on the socket is ours to remove
  if (!options_.group.empty()) {
    WICKET_ASSIGN_OR_RETURN(const gid_t gid, GroupId(options_.group));
    if (chown(path.c_str(), static_cast<uid_t>(-1), gid) != 0) {
      return ErrnoStatus(errno, absl::StrCat("chown(", path, ", group ", options_.group, ")"));
    }
  }
  if (!options_.write_group.empty()) {
    WICKET_ASSIGN_OR_RETURN(write_gid_, GroupId(options_.write_group));
  }
  if (chmod(path.c_str(), kSocketMode) != 0) {
    return ErrnoStatus(errno, absl::StrCat("chmod(", path, ")"));
  }
  if (listen(unix_.get(), kBacklog) != 0)
    return ErrnoStatus(errno, absl::StrCat("listen(", path, ")"));
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
  while (!stopping_) {
    pollfd fds[] = {{wake_.get(), POLLIN, 0}, {unix_.get(), POLLIN, 0}, {tcp_.get(), POLLIN, 0}};
    poll(fds, tcp_.valid() ? 3 : 2, kReap_ms);
    Reap();
    if (fds[1].revents & POLLIN) Accept(unix_.get());
    if (tcp_.valid() && (fds[2].revents & POLLIN)) Accept(tcp_.get());
  }
}

void Server::Reap() {
  while (!refused_.empty() && absl::Now() - refused_.front().first > kRefusedFor) {
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
  const bool over_tcp = listener == tcp_.get();
  const Role role = over_tcp ? Role::kNone : UnixRole(fd.get());
  const std::lock_guard lock(mutex_);
  const auto from_network = static_cast<size_t>(std::count_if(
      connections_.begin(), connections_.end(), [](const Connection& c) { return c.over_tcp; }));
  if (connections_.size() >= kConnectionsMax || (over_tcp && from_network >= kTcpConnectionsMax)) {
    // A word of why, if it can be said without waiting.
    constexpr absl::string_view kFull =
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: "
        "application/json\r\nRetry-After: 1\r\nContent-Length: 84\r\n\r\n"
        "{\"error\":{\"code\":\"unavailable\",\"message\":\"there are too many connections "
        "already\"}}\n";
    send(fd.get(), kFull.data(), kFull.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    // Closed at once it would be reset under a client that still sends, answer and all.
    shutdown(fd.get(), SHUT_WR);
    refused_.emplace_back(absl::Now(), std::move(fd));
    if (refused_.size() > kRefusedMax) refused_.pop_front();
    return;
  }
  Connection& connection = connections_.emplace_back();
  connection.transport =
      over_tcp && tls_ ? tls_->Wrap(std::move(fd)) : std::make_unique<Transport>(std::move(fd));
  connection.over_tcp = over_tcp;
  try {
    connection.thread =
        std::thread([this, &connection, role, over_tcp] { Serve(&connection, role, over_tcp); });
  } catch (const std::system_error& error) {
    Log(LogLevel::kError, "control: no thread for a connection: ", error.what());
    connections_.pop_back();
  }
}

void ServeConnection(Transport& transport, const Handler& handler, const std::atomic<bool>& stopping,
                     const std::function<Role(const std::string&)>& role_of) {
  transport.ExpireIn(Exchange::kPatience);
  if (!transport.Accept().ok()) return;
  boost::beast::flat_buffer buffer(Exchange::kHeaderBytesMax + (64 << 10));
  // Preshared keys came through it.
  const absl::Cleanup wipe = [&buffer] {
    buffer.clear();
    const auto bytes = buffer.prepare(buffer.capacity());
    explicit_bzero(bytes.data(), bytes.size());
  };
  for (bool more = true; more && !stopping;) {
    Exchange exchange(&transport, &buffer, &stopping);
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

void Server::Serve(Connection* connection, Role role, bool over_tcp) {
  NameThread("control/conn");
  ServeConnection(*connection->transport, handler_, stopping_, [&](const std::string& authorization) {
    return over_tcp ? TokenRole(authorization) : role;
  });
  connection->transport->Shutdown();
  const std::lock_guard lock(mutex_);
  connection->ended = true;
}

// The file's permissions have let the caller in; its user and groups say how far.
Role Server::UnixRole(int fd) const {
  ucred who{};
  socklen_t bytes = sizeof(who);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &bytes) != 0) return Role::kNone;
  if (who.uid == 0 || who.uid == geteuid() || !write_gid_) return Role::kWrite;
  return IsMember(fd, who.gid, *write_gid_) ? Role::kWrite : Role::kRead;
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
