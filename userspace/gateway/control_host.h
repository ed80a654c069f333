// What the control interface sees of the gateway.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "installer/installer.h"
#include "roster/devices.h"

namespace wicket::gateway {

// Thread: any. The installers outlive it.
class ControlHost : public roster::Devices {
 public:
  explicit ControlHost(std::map<std::string, installer::Installer*> installers)
      : installers_(std::move(installers)) {}

  void PublishStatus(std::string json);

  std::string StatusJson();
  bool Has(absl::string_view device) const override;
  absl::StatusOr<roster::InstalledByKey> Find(absl::string_view device,
                                              std::span<const PublicKey> keys) override;
  absl::StatusOr<std::vector<PublicKey>> List(absl::string_view device,
                                              const std::optional<PublicKey>& after,
                                              size_t count) override;
  std::vector<absl::Status> Sync(absl::string_view device,
                                 std::span<const PublicKey> keys) override;
  absl::Status ForgetMark(absl::string_view device, const PublicKey& key) override;

 private:
  installer::Installer* InstallerOf(absl::string_view device) const;

  const std::map<std::string, installer::Installer*> installers_;
  std::mutex mutex_;
  std::string status_ = "{}";
};

}  // namespace wicket::gateway
