#include "gateway/control_host.h"

#include <utility>

namespace wicket::gateway {

void ControlHost::PublishStatus(std::string json) {
  const std::lock_guard lock(mutex_);
  status_ = std::move(json);
}

std::string ControlHost::StatusJson() {
  const std::lock_guard lock(mutex_);
  return status_;
}

Installer* ControlHost::InstallerOf(absl::string_view device) const {
  const auto it = installers_.find(std::string(device));
  return it == installers_.end() ? nullptr : it->second;
}

bool ControlHost::HasDevice(absl::string_view device) { return InstallerOf(device) != nullptr; }

std::optional<control::Host::Installed> ControlHost::Find(absl::string_view device,
                                                          const PublicKey& key) {
  const Installer* installer = InstallerOf(device);
  if (installer == nullptr) return std::nullopt;
  return installer->Find(key);
}

std::vector<PublicKey> ControlHost::ListInstalled(absl::string_view device,
                                                  const std::optional<PublicKey>& after,
                                                  size_t count) {
  const Installer* installer = InstallerOf(device);
  if (installer == nullptr) return {};
  return installer->ListInstalled(after, count);
}

absl::Status ControlHost::Sync(absl::string_view device, const PublicKey& key) {
  Installer* installer = InstallerOf(device);
  return installer == nullptr ? absl::OkStatus() : installer->Sync(key);
}

void ControlHost::ForgetMark(absl::string_view device, const PublicKey& key) {
  if (Installer* installer = InstallerOf(device)) installer->ForgetMark(key);
}

}  // namespace wicket::gateway
