// Passes requests on to wicketd, and its answers back.
#pragma once

#include <string>

#include "http/exchange.h"

namespace wicket::edge {

// A request without a right is answered here: a stranger's bytes do not reach wicketd. Of the
// others wicketd is told the role, and decides as for its own callers.
//
// Thread: any number at once.
class Proxy {
 public:
  explicit Proxy(std::string socket) : socket_(std::move(socket)) {}

  void Handle(http::Exchange& exchange) const;

 private:
  const std::string socket_;
};

}  // namespace wicket::edge
