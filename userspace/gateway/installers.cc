#include "gateway/installers.h"

namespace wicket::gateway {

using installer::Installer;

Installer* Installers::Of(absl::string_view device) const {
  const auto it = by_name_.find(std::string(device));
  return it == by_name_.end() ? nullptr : it->second;
}

bool Installers::Has(absl::string_view device) const { return Of(device) != nullptr; }

void Installers::SetOwnKeys(const DeviceWatch& devices) {
  std::map<std::string, PublicKey> own_keys;
  for (size_t i = 0; i < devices.watched().size(); ++i) {
    const WatchedDevice& watched = devices.watched()[i];
    if (watched.found.identity) {
      own_keys.emplace(devices.configs()[i].name, watched.found.public_key);
    }
  }
  const std::lock_guard lock(mutex_);
  own_keys_ = std::move(own_keys);
}

std::optional<PublicKey> Installers::OwnKey(absl::string_view device) const {
  const std::lock_guard lock(mutex_);
  const auto it = own_keys_.find(std::string(device));
  return it == own_keys_.end() ? std::nullopt : std::optional(it->second);
}

absl::StatusOr<roster::InstalledByKey> Installers::Find(absl::string_view device,
                                                        std::span<const PublicKey> keys) {
  Installer* installer = Of(device);
  return installer == nullptr ? roster::InstalledByKey{} : installer->Find(keys);
}

absl::StatusOr<std::vector<PublicKey>> Installers::List(absl::string_view device,
                                                        const std::optional<PublicKey>& after,
                                                        size_t count) {
  Installer* installer = Of(device);
  return installer == nullptr ? std::vector<PublicKey>{} : installer->List(after, count);
}

std::vector<absl::Status> Installers::Sync(absl::string_view device,
                                           std::span<const PublicKey> keys) {
  Installer* installer = Of(device);
  return installer == nullptr ? std::vector<absl::Status>(keys.size()) : installer->Sync(keys);
}

void Installers::SyncLater(absl::string_view device, std::vector<PublicKey> keys) {
  if (Installer* installer = Of(device)) installer->SyncLater(std::move(keys));
}

absl::Status Installers::ForgetMark(absl::string_view device, const PublicKey& key) {
  Installer* installer = Of(device);
  return installer == nullptr ? absl::OkStatus() : installer->ForgetMark(key);
}

}  // namespace wicket::gateway
