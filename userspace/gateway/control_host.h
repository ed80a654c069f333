// What the control interface sees of the gateway.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "control/api.h"
#include "gateway/installer.h"

namespace wicket::gateway {

// Thread: any. The installers outlive it.
class ControlHost : public control::Host {
 public:
  explicit ControlHost(std::map<std::string, Installer*> installers)
      : installers_(std::move(installers)) {}

  void PublishStatus(std::string json);

  std::string StatusJson() override;
  bool HasDevice(absl::string_view device) override;
  std::optional<Installed> Find(absl::string_view device, const PublicKey& key) override;
  std::vector<PublicKey> ListInstalled(absl::string_view device,
                                       const std::optional<PublicKey>& after,
                                       size_t count) override;
  absl::Status Sync(absl::string_view device, const PublicKey& key) override;
  void ForgetMark(absl::string_view device, const PublicKey& key) override;

 private:
  Installer* InstallerOf(absl::string_view device) const;

  const std::map<std::string, Installer*> installers_;
  std::mutex mutex_;
  std::string status_ = "{}";
};

}  // namespace wicket::gateway
