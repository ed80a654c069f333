// Plain HTTP on loopback, for the user who was told the token.
#pragma once

#include <memory>

#include "base/fd.h"
#include "edge/tokens.h"
#include "http/gate.h"

namespace wicket::edge {

class LoopbackGate : public http::Gate {
 public:
  // At 127.0.0.1; port 0: any that is free. Errors: those of ListenAt, and of getsockname().
  static absl::StatusOr<std::unique_ptr<LoopbackGate>> Listen(uint16_t port, Tokens tokens);

  int fd() const override { return fd_.get(); }
  uint16_t port() const { return port_; }
  std::optional<http::Visitor> Receive(Fd fd) override;

 private:
  LoopbackGate(Fd fd, uint16_t port, Tokens tokens)
      : fd_(std::move(fd)), port_(port), tokens_(std::move(tokens)) {}

  const Fd fd_;
  const uint16_t port_;
  const Tokens tokens_;
};

}  // namespace wicket::edge
