// The devices of the configuration, each with its installer, and what the gateway knows of it.
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
  installer::FoundDevice found;
  std::shared_ptr<const intake::ForeignPeers> foreign;
  // Its installer makes progress and, after a silence, has dumped the device since.
  bool answers = true;
  uint64_t silent_since_ns = 0;  // when it was found not to

  // Whether handshakes for it can be served now. Otherwise they pass to the kernel.
  bool served() const { return found.identity != nullptr && answers; }
};

// Follows devices that appear, disappear or change. The installers find that out: but for Start()
// and Stop(), this waits for no device and no installer. A device that hangs stops nothing but
// itself, until the watchdog ends the process.
//
// Thread: one.
class DeviceWatch {
 public:
  // A device whose installer is silent for longer is not served: a call to it, or RTNL, hangs.
  static constexpr absl::Duration kSilenceMax = absl::Seconds(2);

  // Starts the installers, and waits for up to two seconds until each has looked for its device.
  // `surroundings`: without `turns`, which is set here.
  // Errors: those of Installer::Start.
  absl::Status Start(const std::vector<DeviceConfig>& configs,
                     installer::Surroundings surroundings);
  // Ends the installers, and waits for them. Lifetime: ends what installers() returned.
  void Stop();

  // Returns: whether anything changed that the shards and the XDP program must know.
  bool Tick();
  // Makes the installers read the devices' keys, after forged initiations were counted. A device
  // does not announce a new key, and until the program knows it, initiations made for it are
  // dropped as forged.
  void LookForNewKeys();
  // Requires: the devices that Start() was given, in that order.
  void SetConfigs(const std::vector<DeviceConfig>& configs);
  void SetRoutes(const std::vector<installer::NicRoute>& routes);
  void NoteClockStep();

  const std::vector<DeviceConfig>& configs() const { return configs_; }
  const std::vector<WatchedDevice>& watched() const { return watched_; }
  // By index in the configuration.
  std::vector<installer::Installer*> installers() const;
  void AddThreads(std::vector<document::ThreadStatus>* threads) const;
  void FillStatus(document::Status* status) const;

 private:
  bool TickOne(size_t index);

  std::vector<DeviceConfig> configs_;
  reinject::TurnClock turns_;
  std::vector<WatchedDevice> watched_;
};

}  // namespace wicket::gateway
