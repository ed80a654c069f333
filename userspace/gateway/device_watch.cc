#include "gateway/device_watch.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"

namespace wicket::gateway {
namespace {

constexpr absl::Duration kFirstLook = absl::Seconds(2);

}  // namespace

absl::Status DeviceWatch::Start(const std::vector<DeviceConfig>& configs,
                                installer::Surroundings surroundings) {
  configs_ = configs;
  surroundings.turns = &turns_;
  for (const DeviceConfig& config : configs_) {
    WatchedDevice& watched = watched_.emplace_back();
    watched.foreign = std::make_shared<const intake::ForeignPeers>();
    watched.installer = std::make_unique<installer::Installer>(config, surroundings);
    WICKET_RETURN_IF_ERROR(watched.installer->Start());
  }
  const absl::Duration began = SteadyNow();
  for (WatchedDevice& watched : watched_) {
    watched.installer->AwaitFirstLook(
        std::max(absl::ZeroDuration(), began + kFirstLook - SteadyNow()));
  }
  return absl::OkStatus();
}

void DeviceWatch::Stop() {
  for (WatchedDevice& watched : watched_) watched.installer->Stop();
  watched_.clear();
}

bool DeviceWatch::Tick() {
  bool changed = false;
  for (size_t i = 0; i < watched_.size(); ++i) changed |= TickOne(i);
  return changed;
}

bool DeviceWatch::TickOne(size_t index) {
  WatchedDevice& watched = watched_[index];
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
    Log(answers ? LogLevel::kInfo : LogLevel::kError, About{configs_[index].name},
        answers ? "the device answers again"
                : "the device does not answer; its handshakes pass to the kernel");
  }
  if (auto foreign = watched.installer->TakeForeign()) {
    watched.foreign = std::move(foreign);
    changed = true;
  }
  if (const auto found = watched.installer->TakeFound()) {
    watched.found = *found;
    changed = true;
  }
  return changed;
}

void DeviceWatch::LookForNewKeys() {
  for (WatchedDevice& watched : watched_) watched.installer->LookForNewKey();
}

void DeviceWatch::SetConfigs(const std::vector<DeviceConfig>& configs) {
  configs_ = configs;
  for (size_t i = 0; i < watched_.size(); ++i) watched_[i].installer->SetOptions(configs_[i]);
}

void DeviceWatch::SetRoutes(const std::vector<installer::NicRoute>& routes) {
  for (WatchedDevice& watched : watched_) watched.installer->SetRoutes(routes);
}

void DeviceWatch::NoteClockStep() {
  for (WatchedDevice& watched : watched_) watched.installer->NoteClockStep();
}

std::vector<installer::Installer*> DeviceWatch::installers() const {
  std::vector<installer::Installer*> installers;
  for (const WatchedDevice& watched : watched_) installers.push_back(watched.installer.get());
  return installers;
}

void DeviceWatch::AddThreads(std::vector<document::ThreadStatus>* threads) const {
  for (size_t i = 0; i < watched_.size(); ++i) {
    threads->push_back({.name = absl::StrCat("install/", configs_[i].name),
                        .silent_s = SecondsSince(watched_[i].installer->beat_ns())});
  }
}

void DeviceWatch::FillStatus(document::Status* status) const {
  for (size_t i = 0; i < watched_.size(); ++i) {
    const WatchedDevice& watched = watched_[i];
    document::DeviceStatus device;
    device.name = configs_[i].name;
    const bool away = watched.found.ifindex == 0;
    device.backend = away ? "away" : watched.found.backend;
    device.away_reason = watched.found.problem;
    device.public_key = away ? "" : ToBase64(watched.found.public_key);
    device.port = watched.found.port;
    device.installed_max = configs_[i].installed_max;
    device.probation_max = configs_[i].probation_max;
    watched.installer->FillStatus(&device);
    status->devices.push_back(std::move(device));
  }
}

}  // namespace wicket::gateway
