// Passes requests on to wicketd, and its answers back.
#pragma once

#include <functional>
#include <string>

#include "http/exchange.h"

namespace wicket::edge {

// A request without a right is answered here: a stranger's bytes do not reach wicketd. Of the
// others wicketd is told the role, and decides as for its own callers.
//
// Thread: any number at once.
class Proxy {
 public:
  // `metrics`: text to add to wicketd's answer to GET /metrics.
  explicit Proxy(
      std::string socket, std::function<std::string()> metrics = [] { return ""; })
      : socket_(std::move(socket)), metrics_(std::move(metrics)) {}

  void Handle(http::Exchange& exchange) const;

 private:
  const std::string socket_;
  const std::function<std::string()> metrics_;
};

}  // namespace wicket::edge
