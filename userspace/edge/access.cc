#include "edge/access.h"

namespace wicket::edge {

absl::Status Access::Load(const Config& config) {
  auto loaded = std::make_shared<Credentials>();
  WICKET_ASSIGN_OR_RETURN(
      loaded->tls, TlsContext::Load(config.tls_certificate, config.tls_key, config.client_ca));
  if (!config.tokens.empty()) {
    WICKET_ASSIGN_OR_RETURN(loaded->tokens, Tokens::Load(config.tokens));
  }
  loaded->clients = config.clients;
  const std::lock_guard lock(mutex_);
  latest_ = std::move(loaded);
  return absl::OkStatus();
}

std::shared_ptr<const Credentials> Access::latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

}  // namespace wicket::edge
