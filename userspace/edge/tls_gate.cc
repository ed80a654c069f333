#include "edge/tls_gate.h"

#include <sys/socket.h>

#include <atomic>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "edge/listener.h"

namespace wicket::edge {
namespace {

// Logs a locked-out address. Rate limit: one line a second for all addresses together.
void TellOfGuesses(const Address& from) {
  static std::atomic<int64_t> next_s{0};
  const int64_t now_s = absl::ToInt64Seconds(SteadyNow());
  int64_t next = next_s.load();
  if (now_s < next || !next_s.compare_exchange_strong(next, now_s + 1)) return;
  Log(LogLevel::kWarning, ToString(from), ": too many wrong tokens; it has to wait");
}

}  // namespace

absl::StatusOr<std::unique_ptr<http::Gate>> TlsGate::Listen(const Endpoint& endpoint,
                                                            const Access* access,
                                                            Callers* callers) {
  WICKET_ASSIGN_OR_RETURN(Fd fd, ListenAt(endpoint));
  return std::make_unique<TlsGate>(std::move(fd), access, callers);
}

std::optional<http::Visitor> TlsGate::Receive(Fd fd) {
  sockaddr_storage storage;
  socklen_t bytes = sizeof(storage);
  if (getpeername(fd.get(), reinterpret_cast<sockaddr*>(&storage), &bytes) != 0) {
    return std::nullopt;
  }
  const auto from = FromSockaddr(&storage, bytes);
  if (!from) return std::nullopt;
  const Address caller = from->address.Unmapped();
  auto place = callers_->Enter(caller);
  if (place == nullptr) return std::nullopt;
  http::Visitor visitor;
  auto transport = access_->latest()->tls.Wrap(std::move(fd));
  visitor.role_of = [this, tls = transport.get(), caller](const http::Exchange& exchange) {
    return RoleOf(*tls, caller, exchange);
  };
  visitor.transport = std::move(transport);
  visitor.place = std::move(place);
  return visitor;
}

// Asked with each request, so a reload takes a right away from connections that are open.
http::Role TlsGate::RoleOf(const TlsTransport& transport, const Address& from,
                           const http::Exchange& exchange) const {
  const std::shared_ptr<const Credentials> credentials = access_->latest();
  const std::string authorization = exchange.header("Authorization");
  if (authorization.empty()) {
    const auto client = credentials->clients.find(credentials->tls.ClientName(transport));
    return client == credentials->clients.end() ? http::Role::kNone : client->second;
  }
  // Asked again during an answer: the token was right, and what others behind its address guess
  // does not end the answer.
  if (exchange.role > http::Role::kNone) return credentials->tokens.FindBearer(authorization);
  const absl::Duration steady = SteadyNow();
  if (!callers_->MayTry(from, steady)) return http::Role::kLockedOut;
  const http::Role role = credentials->tokens.FindBearer(authorization);
  if (role == http::Role::kNone && callers_->NoteFailure(from, steady)) TellOfGuesses(from);
  return role;
}

}  // namespace wicket::edge
