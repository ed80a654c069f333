#include "gateway/control_host.h"

#include <utility>

namespace wicket::gateway {

using installer::Installer;

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

bool ControlHost::Has(absl::string_view device) const { return InstallerOf(device) != nullptr; }

absl::StatusOr<roster::InstalledByKey> ControlHost::Find(absl::string_view device,
                                                         std::span<const PublicKey> keys) {
  roster::InstalledByKey found;
  const Installer* installer = InstallerOf(device);
  for (const PublicKey& key : keys) {
    if (installer == nullptr) break;
    if (auto one = installer->Find(key)) found.emplace(key, *std::move(one));
  }
  return found;
}

absl::StatusOr<std::vector<PublicKey>> ControlHost::List(absl::string_view device,
                                                         const std::optional<PublicKey>& after,
                                                         size_t count) {
  const Installer* installer = InstallerOf(device);
  if (installer == nullptr) return std::vector<PublicKey>{};
  return installer->ListInstalled(after, count);
}

std::vector<absl::Status> ControlHost::Sync(absl::string_view device,
                                            std::span<const PublicKey> keys) {
  std::vector<absl::Status> results;
  Installer* installer = InstallerOf(device);
  for (const PublicKey& key : keys) {
    results.push_back(installer == nullptr ? absl::OkStatus() : installer->Sync(key));
  }
  return results;
}

absl::Status ControlHost::ForgetMark(absl::string_view device, const PublicKey& key) {
  if (Installer* installer = InstallerOf(device)) installer->ForgetMark(key);
  return absl::OkStatus();
}

}  // namespace wicket::gateway
