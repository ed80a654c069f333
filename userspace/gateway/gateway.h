// The whole of it: NICs with their shards, devices with their installers, one store.
//
//   Nic eth0 -- Shard x queue --+--> installer::Installer wg0 --> device wg0
//   Nic eth1 -- Shard x queue --+--> installer::Installer wg1 --> device wg1
//                 |                      |
//                 +------- Store --------+
#pragma once

#include <memory>
#include <vector>

#include "gateway/config.h"
#include "control/api.h"
#include "gateway/control_host.h"
#include "roster/expiry_collector.h"
#include "report/defence.h"
#include "installer/installer.h"
#include "gateway/nic.h"

namespace wicket::gateway {

// Thread: one, the one that made it.
class Gateway {
 public:
  // Opens the store, takes over or attaches the program, and serves.
  // A NIC or a device that does not exist is waited for; whatever else fails is
  // returned, and nothing is left running.
  // `unsaved`: what a gateway before it could not save.
  static absl::StatusOr<std::unique_ptr<Gateway>> Start(Config config,
                                                        installer::Sessions unsaved = {});
  // Drains: stops steering, finishes what was proven, saves sessions. Peers stay
  // in the devices and the program on the NICs.
  ~Gateway();

  // To be called about twice a second: follows NICs and devices that come, go
  // or change, and writes the status file.
  // Errors: the store cannot be used any more; only a new start helps.
  absl::Status Tick();

  // Stops serving, and returns the sessions that the store has not taken. Nothing but the
  // destructor may follow.
  installer::Sessions Close();

  // Takes what can change while running: log_level, reinject, evict_after,
  // installed_max. Returns: what differs and needs a restart; empty when nothing does.
  std::vector<std::string> Reload(const Config& config);

  document::Status ReadStatus() const;

 private:
  // A device as it was last seen.
  struct Watched {
    std::unique_ptr<installer::Installer> installer;
    int ifindex = 0;  // 0: away
    PublicKey public_key;
    uint16_t port = 0;
    std::string backend;
    std::shared_ptr<const crypto::Locked<noise::Identity>> identity;
    std::shared_ptr<const intake::ForeignPeers> foreign;
    std::string last_problem;
  };

  explicit Gateway(Config config) : config_(std::move(config)) {}
  absl::Status StartAll(installer::Sessions unsaved);
  absl::Status StartControl();
  void StopServing();
  void WatchDevices();
  void WatchKeys();
  absl::StatusOr<std::unique_ptr<wgdev::Device>> ReadDevice(size_t index);
  void Lose(size_t index, absl::string_view why);
  absl::Status Publish();
  absl::Status RotateCookies();
  absl::Status WatchNics(bool at_start);
  void SetReinject(reinject::Mode wanted);
  void PublishRoutes();
  void NoteDefence();
  void WriteStatusFile();

  // Destruction runs from the bottom up: NICs stop feeding installers before
  // those go, and everything goes before the store.
  Config config_;
  absl::Time started_;
  std::optional<store::Store> store_;
  std::unique_ptr<store::Committer> committer_;
  std::unique_ptr<installer::SessionSaver> saver_;
  event::EventLog events_;
  std::unique_ptr<xsk::Steering> steering_;
  std::unique_ptr<reinject::Injector> prober_;
  std::unique_ptr<Published<intake::DeviceTable>> table_;
  intake::VerdictCounters past_verdicts_;
  std::shared_ptr<const noise::CookieSecrets> cookies_;
  report::Defence defence_{&events_};
  reinject::TurnClock turns_;
  std::vector<bool> slots_used_ = std::vector<bool>(STEER_SLOTS_MAX);
  absl::Duration next_status_ = -absl::InfiniteDuration();
  absl::Duration next_cookies_ = -absl::InfiniteDuration();
  absl::Duration next_reader_check_ = -absl::InfiniteDuration();
  uint64_t macs_failed_ = 0;  // ever, when it was last looked at
  bool running_ = false;      // the status file is ours
  std::vector<std::string> nic_problems_;
  std::vector<std::string> device_names_;
  std::vector<Watched> devices_;
  std::vector<std::unique_ptr<Nic>> nics_;
  std::unique_ptr<roster::ExpiryCollector> collector_;
  std::unique_ptr<ControlHost> host_;
  std::unique_ptr<control::Api> api_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace wicket::gateway
