// The gate of a TCP socket: TLS, and for each request a token or the client's certificate.
#pragma once

#include <memory>

#include "base/address.h"
#include "edge/access.h"
#include "edge/callers.h"
#include "http/gate.h"

namespace wicket::edge {

class TlsGate : public http::Gate {
 public:
  // `access`, which has been loaded, and `callers` outlive it. Errors: those of ListenAt().
  static absl::StatusOr<std::unique_ptr<Gate>> Listen(const Endpoint& endpoint,
                                                      const Access* access, Callers* callers);
  // Of a socket that listens already.
  TlsGate(Fd listening, const Access* access, Callers* callers)
      : fd_(std::move(listening)), access_(access), callers_(callers) {}

  int fd() const override { return fd_.get(); }
  std::optional<http::Visitor> Receive(Fd fd) override;

 private:
  http::Role RoleOf(const TlsTransport& transport, const Address& from,
                    const http::Exchange& exchange) const;

  Fd fd_;
  const Access* access_;
  Callers* callers_;
};

}  // namespace wicket::edge
