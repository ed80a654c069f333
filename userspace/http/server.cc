#include "http/server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <system_error>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

namespace wicket::http {
namespace {

constexpr int kReap_ms = 1000;
constexpr size_t kRefusedMax = 128;
constexpr absl::Duration kRefusedFor = absl::Seconds(1);
constexpr useconds_t kNoDescriptors_us = 100'000;

}  // namespace

void ServeConnection(Transport& transport, const Handler& handler,
                     const std::atomic<bool>& stopping,
                     const std::function<Role(const Exchange&)>& role_of) {
  transport.ExpireIn(Exchange::kPatience);
  if (!transport.Accept().ok()) return;
  ReadAhead read_ahead;
  // A stranger's connection is not kept for long, and for one request only.
  absl::Duration idle = Exchange::kPatience;
  for (bool more = true; more && !stopping; idle = Exchange::kIdle) {
    Exchange exchange(&transport, &read_ahead, &stopping);
    if (!exchange.ReadHeader(idle)) {
      exchange.Linger();
      break;
    }
    exchange.role = role_of(exchange);
    exchange.role_now = [&] { return role_of(exchange); };
    if (exchange.role <= Role::kNone) exchange.set_last();
    handler(exchange);
    more = exchange.keep_alive();
    if (!more) exchange.Linger();
  }
}

Server::Server(std::vector<std::unique_ptr<Gate>> gates, Handler handler, size_t connections_max)
    : gates_(std::move(gates)),
      handler_(std::move(handler)),
      connections_max_(connections_max),
      wake_(eventfd(0, EFD_CLOEXEC)),
      thread_([this] { Loop(); }) {}

Server::~Server() {
  stopping_ = true;
  eventfd_write(wake_.get(), 1);
  thread_.join();
  {
    const std::lock_guard lock(mutex_);
    for (Connection& connection : connections_) connection.visitor.transport->Shutdown();
  }
  for (Connection& connection : connections_) connection.thread.join();
}

void Server::Loop() {
  NameThread("control");
  ServeOperators();  // and so do the threads it makes
  DropRights();
  std::vector<pollfd> fds{{wake_.get(), POLLIN, 0}};
  for (const auto& gate : gates_) {
    fds.push_back({gate->fd(), POLLIN, 0});
    // A connection may be gone again before it is accepted.
    fcntl(gate->fd(), F_SETFL, fcntl(gate->fd(), F_GETFL) | O_NONBLOCK);
  }
  while (!stopping_) {
    task_.End();
    const bool ready = poll(fds.data(), fds.size(), kReap_ms) > 0;
    task_.Begin();
    Reap();
    if (!ready) continue;
    for (size_t i = 0; i < gates_.size(); ++i) {
      if (fds[i + 1].revents & POLLIN) Accept(gates_[i].get());
    }
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

void Server::Accept(Gate* gate) {
  Fd fd(accept4(gate->fd(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!fd.valid()) {
    if (errno == EMFILE || errno == ENFILE) usleep(kNoDescriptors_us);
    return;
  }
  std::optional<Visitor> visitor = gate->Receive(std::move(fd));
  if (!visitor) return;
  const std::lock_guard lock(mutex_);
  if (!HasRoomFor(*visitor)) return Refuse(*std::move(visitor));
  Connection& connection = connections_.emplace_back();
  connection.visitor = *std::move(visitor);
  try {
    connection.thread = std::thread([this, &connection] { Serve(&connection); });
  } catch (const std::system_error& error) {
    Log(LogLevel::kError, "control: no thread for a connection: ", error.what());
    connections_.pop_back();
  }
}

// Readers may stay for a minute each, and must not keep an operator out. Requires: mutex_.
bool Server::HasRoomFor(const Visitor& visitor) const {
  return connections_.size() < connections_max_ - (visitor.privileged ? 0 : kKeptForRoot);
}

// A word of why, if it can be said without waiting. Closed at once it would be reset under a
// client that still sends, answer and all.
void Server::Refuse(Visitor visitor) {
  constexpr absl::string_view kFull =
      "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Type: "
      "application/json\r\nRetry-After: 1\r\nContent-Length: 84\r\n\r\n"
      "{\"error\":{\"code\":\"unavailable\",\"message\":\"there are too many connections "
      "already\"}}\n";
  visitor.transport->Refuse(kFull);
  refused_.emplace_back(SteadyNow(), std::move(visitor));
  if (refused_.size() > kRefusedMax) refused_.pop_front();
}

void Server::Serve(Connection* connection) {
  NameThread("control/conn");
  ServeConnection(*connection->visitor.transport, handler_, stopping_, connection->visitor.role_of);
  connection->visitor.transport->Shutdown();
  const std::lock_guard lock(mutex_);
  connection->visitor.place.reset();
  connection->ended = true;
}

}  // namespace wicket::http
