// The devices of the configuration, each with its installer and its last observed state.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "gateway/config.h"
#include "installer/installer.h"
#include "intake/device_table.h"
#include "reinject/pacer.h"

namespace wicket::gateway {

struct WatchedDevice {
  std::unique_ptr<installer::Installer> installer;
  int ifindex = 0;  // 0: away
  PublicKey public_key;
  uint16_t port = 0;
  std::string backend;
  std::shared_ptr<const crypto::Locked<noise::Identity>> identity;
  std::shared_ptr<const intake::ForeignPeers> foreign;
  bool answers = true;           // its installer makes progress
  uint64_t silent_since_ns = 0;  // when it was found not to
  std::string last_problem;

  // Whether handshakes for it can be served now. Otherwise they pass to the kernel.
  bool served() const { return identity != nullptr && answers; }
};

// Follows devices that appear, disappear or change. Never waits for an installer, so a device that
// hangs while it is served stops nothing but itself. A device that came or changed is asked for its
// key here, and may take its time-out of 10 s.
//
// Thread: one.
class Devices {
 public:
  // A device whose installer is silent for longer is not served: a call to it, or RTNL, hangs.
  static constexpr absl::Duration kSilenceMax = absl::Seconds(2);

  // Starts the installers. Errors: those of Installer::Start.
  absl::Status Start(const std::vector<DeviceConfig>& configs,
                     const installer::Surroundings& surroundings);
  void Stop();

  // Returns: whether anything changed that the shards and the XDP program must know.
  bool Tick();
  // Makes the installers read the devices' keys, after forged initiations were counted. A device
  // does not announce a new key, and until the program knows it, initiations made for it are
  // dropped as forged.
  void LookForNewKeys();
  void SetConfigs(const std::vector<DeviceConfig>& configs);
  void SetRoutes(const std::vector<installer::NicRoute>& routes);
  void NoteClockStep(absl::Duration step, absl::Time now);

  const std::vector<DeviceConfig>& configs() const { return configs_; }
  const std::vector<WatchedDevice>& watched() const { return watched_; }
  // By index in the configuration.
  std::vector<installer::Installer*> installers() const;
  // Returns: the name of an installer without progress for longer than `silence`, or an empty
  //          string.
  std::string SilentInstaller(absl::Duration silence) const;
  void FillStatus(document::Status* status) const;

 private:
  absl::StatusOr<std::unique_ptr<wgdev::Device>> Read(size_t index);
  bool TickOne(size_t index);
  void Lose(size_t index, absl::string_view why);

  std::vector<DeviceConfig> configs_;
  std::vector<WatchedDevice> watched_;
  reinject::TurnClock turns_;
};

}  // namespace wicket::gateway
