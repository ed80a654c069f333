#include "edge/access.h"

namespace wicket::edge {

// A token that is taken away must go, also when the certificate of that day is bad.
absl::Status Access::Load(const Config& config) {
  auto tls = TlsContext::Load(config.tls_certificate, config.tls_key, config.client_ca);
  absl::StatusOr<Tokens> tokens = Tokens();
  if (!config.tokens.empty()) tokens = Tokens::Load(config.tokens);
  const std::lock_guard lock(mutex_);
  if (latest_ == nullptr) {
    WICKET_RETURN_IF_ERROR(tls.status());
    WICKET_RETURN_IF_ERROR(tokens.status());
  }
  auto loaded = latest_ ? std::make_shared<Credentials>(*latest_) : std::make_shared<Credentials>();
  const absl::Status status = tls.ok() ? tokens.status() : tls.status();
  if (tls.ok()) loaded->tls = *std::move(tls);
  if (tokens.ok()) loaded->tokens = *std::move(tokens);
  loaded->clients = config.clients;
  latest_ = std::move(loaded);
  return status;
}

std::shared_ptr<const Credentials> Access::latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

}  // namespace wicket::edge
