#include "edge/loopback_gate.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <utility>

#include "edge/listener.h"

namespace wicket::edge {

absl::StatusOr<std::unique_ptr<LoopbackGate>> LoopbackGate::Listen(uint16_t port, Tokens tokens) {
  WICKET_ASSIGN_OR_RETURN(Fd fd, ListenAt({.address = *ParseAddress("127.0.0.1"), .port = port}));
  sockaddr_in bound{};
  socklen_t bytes = sizeof(bound);
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&bound), &bytes) != 0) {
    return ErrnoStatus(errno, "getsockname()");
  }
  return std::unique_ptr<LoopbackGate>(
      new LoopbackGate(std::move(fd), ntohs(bound.sin_port), std::move(tokens)));
}

std::optional<http::Visitor> LoopbackGate::Receive(Fd fd) {
  return http::Visitor{.transport = std::make_unique<http::Transport>(std::move(fd)),
                       .role_of =
                           [this](const http::Exchange& exchange) {
                             return tokens_.FindBearer(exchange.header("Authorization"));
                           },
                       .place = nullptr};
}

}  // namespace wicket::edge
