#include "gateway/services.h"

#include <algorithm>

#include "base/clock.h"

namespace wicket::gateway {

absl::Status Services::Publish(const DeviceWatch& devices, uint64_t shards,
                               uint64_t cookies_per_second) {
  auto table = std::make_unique<intake::DeviceTable>();
  table->cookies = cookies_;
  table->cookie_interval_ns = std::max<uint64_t>(
      uint64_t{1'000'000'000} * shards / cookies_per_second, STEER_COOKIE_INTERVAL_MIN_NS);
  std::vector<xsk::Service> services;
  for (size_t i = 0; i < devices.watched().size(); ++i) {
    const DeviceConfig& config = devices.configs()[i];
    const WatchedDevice& watched = devices.watched()[i];
    table->devices.push_back({.name = config.name,
                              .port = watched.found.port,
                              .identity = watched.served() ? watched.found.identity : nullptr,
                              .foreign = watched.foreign,
                              .handshakes_per_second = std::max<uint64_t>(
                                  config.handshakes_per_second / std::max<uint64_t>(shards, 1), 1),
                              .crowded = &watched.installer->crowded(),
                              .installer_beat_ns = &watched.installer->beat_ns()});
    if (!watched.served()) continue;
    const noise::Identity& self = **watched.found.identity;
    services.push_back(
        {watched.found.port, static_cast<uint32_t>(i), self.mac1_key(), self.cookie_key()});
  }
  table_.Publish(std::move(table));
  return steering_->Serve(services);
}

absl::StatusOr<bool> Services::RotateCookies() {
  if (SteadyNow() < next_cookies_) return false;
  Secret<32> secret;
  crypto::FillRandom(secret.data(), secret.size());
  WICKET_RETURN_IF_ERROR(steering_->AddSecret(secret));
  cookies_ =
      std::make_shared<const noise::CookieSecrets>(secret, cookies_ ? cookies_->newest() : secret);
  next_cookies_ = SteadyNow() + noise::kCookieAge;
  return true;
}

}  // namespace wicket::gateway
