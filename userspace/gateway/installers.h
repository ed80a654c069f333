// The installers, as the roster and the control interface see them.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "gateway/device_watch.h"
#include "installer/installer.h"
#include "roster/devices.h"

namespace wicket::gateway {

// Thread: any; but SetOwnKeys() that of the DeviceWatch. The installers outlive it.
class Installers : public roster::Devices {
 public:
  explicit Installers(std::map<std::string, installer::Installer*> by_name)
      : by_name_(std::move(by_name)) {}

  // The devices' keys have changed.
  void SetOwnKeys(const DeviceWatch& devices);

  bool Has(absl::string_view device) const override;
  std::optional<PublicKey> OwnKey(absl::string_view device) const override;
  absl::StatusOr<roster::InstalledByKey> Find(absl::string_view device,
                                              std::span<const PublicKey> keys) override;
  absl::StatusOr<std::vector<PublicKey>> List(absl::string_view device,
                                              const std::optional<PublicKey>& after,
                                              size_t count) override;
  std::vector<absl::Status> Sync(absl::string_view device,
                                 std::span<const PublicKey> keys) override;
  void SyncLater(absl::string_view device, std::vector<PublicKey> keys) override;
  absl::Status ForgetMark(absl::string_view device, const PublicKey& key) override;

 private:
  installer::Installer* Of(absl::string_view device) const;

  const std::map<std::string, installer::Installer*> by_name_;
  mutable std::mutex mutex_;  // held for a look-up
  std::map<std::string, PublicKey> own_keys_;
};

}  // namespace wicket::gateway
