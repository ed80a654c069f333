#include "gateway/devices.h"

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "installer/returner.h"

namespace wicket::gateway {

absl::Status Devices::Start(const std::vector<DeviceConfig>& configs,
                            const installer::Surroundings& surroundings) {
  configs_ = configs;
  for (const DeviceConfig& config : configs_) {
    WatchedDevice& watched = watched_.emplace_back();
    watched.foreign = std::make_shared<const intake::ForeignPeers>();
    watched.installer = std::make_unique<installer::Installer>(config, surroundings);
    WICKET_RETURN_IF_ERROR(watched.installer->Start());
  }
  return absl::OkStatus();
}

void Devices::Stop() {
  for (WatchedDevice& watched : watched_) watched.installer->Stop();
  watched_.clear();
}

bool Devices::Tick() {
  bool changed = false;
  for (size_t i = 0; i < watched_.size(); ++i) changed |= TickOne(i);
  return changed;
}

bool Devices::TickOne(size_t index) {
  WatchedDevice& watched = watched_[index];
  const std::string& name = configs_[index].name;
  bool changed = false;
  const absl::Duration silent =
      SteadyNow() - absl::Nanoseconds(static_cast<int64_t>(watched.installer->beat_ns()));
  // A device that hangs lets each call end after seconds. It answers again when it was dumped.
  const bool dumped = watched.installer->dumped_ns() > watched.silent_since_ns;
  if (const bool answers = silent < kSilenceMax && (watched.answers || dumped);
      answers != watched.answers) {
    watched.answers = answers;
    if (!answers) watched.silent_since_ns = SteadyNanos();
    changed = true;
    Log(answers ? LogLevel::kInfo : LogLevel::kError, name,
        answers ? ": the device answers again"
                : ": the device does not answer; its handshakes pass to the kernel");
  }
  if (auto foreign = watched.installer->TakeForeign()) {
    watched.foreign = std::move(foreign);
    changed = true;
  }
  const int ifindex = wgdev::InterfaceIndex(name);
  if (watched.ifindex != 0 && (ifindex != watched.ifindex || watched.installer->device_lost())) {
    Lose(index, "the device went away");
    changed = true;
  }
  // A call to a device that hangs would hang this thread.
  if (!watched.answers) return changed;
  const bool away = watched.ifindex == 0;
  if (!away && !watched.installer->device_changed()) return changed;
  auto device = Read(index);
  if (!device.ok()) {
    // With the old key, every initiation made for the new one would be dropped as forged.
    if (!away) Lose(index, "its key or port changed, and cannot be read");
    if (device.status().message() == watched.last_problem) return changed || !away;
    watched.last_problem = std::string(device.status().message());
    Log(LogLevel::kWarning, name, ": waiting for the device: ", watched.last_problem);
    return changed || !away;
  }
  watched.last_problem.clear();
  // A device that only changed its key keeps its peers, and we keep our knowledge of them.
  if (away) {
    auto pacer = installer::PacerFor(**device, name, &turns_);
    watched.installer->SetDevice(std::move(*device), std::move(pacer), watched.public_key,
                                 watched.port);
  } else {
    watched.installer->SetKeys(watched.public_key, watched.port);
  }
  return true;
}

// Opens the device and reads its key and port.
absl::StatusOr<std::unique_ptr<wgdev::Device>> Devices::Read(size_t index) {
  WatchedDevice& watched = watched_[index];
  const DeviceConfig& config = configs_[index];
  WICKET_ASSIGN_OR_RETURN(std::unique_ptr<wgdev::Device> device,
                          wgdev::Open(config.name, config.backend));
  WICKET_ASSIGN_OR_RETURN(wgdev::DeviceInfo info, device->ReadInfo());
  const Secret<kKeyBytes> none;
  if (crypto::Equal(info.private_key.data(), none.data(), none.size())) {
    return absl::FailedPreconditionError(
        absl::StrCat("it has no private key (`wg set ", config.name, " private-key FILE`)"));
  }
  if (info.listen_port == 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("it has no listen port (`wg set ", config.name, " listen-port PORT`)"));
  }
  auto identity = crypto::Locked<noise::Identity>::Make(info.private_key);
  if (!identity) {
    return absl::ResourceExhaustedError(
        "locking the private key into memory: refused (raise RLIMIT_MEMLOCK or give CAP_IPC_LOCK)");
  }
  watched.identity = std::make_shared<const crypto::Locked<noise::Identity>>(std::move(identity));
  watched.public_key = (*watched.identity)->public_key();
  watched.port = info.listen_port;
  watched.ifindex = info.ifindex;
  watched.backend = std::string(device->backend());
  Log(LogLevel::kInfo, config.name, ": ", watched.backend, " backend, port ", watched.port,
      ", public key ", ToBase64(watched.public_key));
  return device;
}

void Devices::Lose(size_t index, absl::string_view why) {
  WatchedDevice& watched = watched_[index];
  Log(LogLevel::kWarning, configs_[index].name, ": ", why, "; its packets pass to the kernel");
  watched.ifindex = 0;
  watched.identity.reset();
  watched.backend.clear();
}

void Devices::LookForNewKeys() {
  for (WatchedDevice& watched : watched_) watched.installer->LookForNewKey();
}

void Devices::SetConfigs(const std::vector<DeviceConfig>& configs) {
  configs_ = configs;
  for (size_t i = 0; i < watched_.size(); ++i) watched_[i].installer->SetOptions(configs_[i]);
}

void Devices::SetRoutes(const std::vector<installer::NicRoute>& routes) {
  for (WatchedDevice& watched : watched_) watched.installer->SetRoutes(routes);
}

void Devices::NoteClockStep(absl::Duration step, absl::Time now) {
  for (WatchedDevice& watched : watched_) watched.installer->NoteClockStep(step, now);
}

std::vector<installer::Installer*> Devices::installers() const {
  std::vector<installer::Installer*> installers;
  for (const WatchedDevice& watched : watched_) installers.push_back(watched.installer.get());
  return installers;
}

std::string Devices::SilentInstaller(absl::Duration silence) const {
  for (size_t i = 0; i < watched_.size(); ++i) {
    const auto beat = absl::Nanoseconds(static_cast<int64_t>(watched_[i].installer->beat_ns()));
    if (SteadyNow() - beat > silence) return absl::StrCat("install/", configs_[i].name);
  }
  return {};
}

void Devices::FillStatus(document::Status* status) const {
  for (size_t i = 0; i < watched_.size(); ++i) {
    const WatchedDevice& watched = watched_[i];
    document::DeviceStatus device;
    device.name = configs_[i].name;
    device.backend = watched.ifindex == 0 ? "away" : watched.backend;
    device.public_key = watched.ifindex == 0 ? "" : ToBase64(watched.public_key);
    device.port = watched.port;
    watched.installer->FillStatus(&device);
    status->devices.push_back(std::move(device));
  }
}

}  // namespace wicket::gateway
