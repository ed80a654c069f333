// Composes the gateway: NICs with their shards, devices with their installers, one store, and what
// operators see of them.
//
//   Nic eth0 -- Shard x queue --+--> Installer wg0 --> device wg0
//   Nic eth1 -- Shard x queue --+--> Installer wg1 --> device wg1
//                 |                      |
//                 +------- Store --------+
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "gateway/config.h"
#include "gateway/device_watch.h"
#include "gateway/front.h"
#include "gateway/nics.h"
#include "gateway/services.h"
#include "report/defence.h"
#include "report/reporter.h"

namespace wicket::gateway {

// Thread: one, the one that made it.
class Gateway {
 public:
  // A thread that serves and makes no progress for longer hangs, and a new process should take
  // over.
  static constexpr absl::Duration kHang = absl::Seconds(15);

  // Opens the store, takes over or attaches the program, and serves. A NIC or a device that is not
  // there, or cannot be taken yet, is waited for.
  // `unsaved`: sessions that a gateway before it could not save; taken, and after an error those
  // that are still to be saved. `reload`: what the control interface asks for; called on its
  // threads. `wake`: woken when a Tick() should come early; it outlives the gateway.
  // Errors: what waiting could not mend; nothing is left running.
  static absl::StatusOr<std::unique_ptr<Gateway>> Start(Config config, installer::Sessions* unsaved,
                                                        ReloadHandler reload, const Calls* wake);
  // Drains: stops steering, serves what was proven, saves sessions. Peers stay in the devices and
  // the program on the NICs.
  ~Gateway();

  // To be called about twice a second: follows clocks, NICs and devices, and publishes the status.
  // Waits for no device, no installer and, except when a NIC comes up or goes away, not for RTNL.
  // Errors: the store cannot be used any more; only a new start helps.
  absl::Status Tick();

  // Stops serving, and returns the sessions that the store has not taken. Nothing but the
  // destructor may follow.
  // Requires: no `reload` waits for this thread any more; this and the destructor wait for those
  //           under way.
  installer::Sessions Close();

  // Takes what can change while running. Returns: what differs and needs a restart; empty when
  // nothing does. config() is what runs from then on.
  // Errors: a part that cannot be had here; the rest is taken.
  absl::StatusOr<std::vector<std::string>> Reload(const Config& config);
  const Config& config() const { return config_; }

  // The name of a thread that hangs; empty: all make progress.
  std::string HangingThread() const;
  // What is served, in a line.
  std::string Summary() const;

 private:
  struct Storage {
    std::optional<store::Store> store;
    std::unique_ptr<store::Committer> committer;
    std::unique_ptr<installer::SessionSaver> saver;
  };
  // What the last ticks have seen.
  struct Seen {
    ClockStepDetector clock;
    uint64_t clock_steps = 0;
    uint64_t macs_failed = 0;  // ever
    absl::Duration next_status = -absl::InfiniteDuration();
    absl::Duration next_reader_check = -absl::InfiniteDuration();
  };

  explicit Gateway(Config config) : config_(std::move(config)) {}
  absl::Status StartAll(installer::Sessions* unsaved, ReloadHandler reload, const Calls* wake);
  void StopServing();
  void WatchClock();
  void WatchKeys();
  absl::Status WatchNics();
  void Publish();
  void FillPools(document::Status* status) const;
  void NoteDefence(document::Status* status);
  document::Status ReadStatus() const;

  // Destruction runs from the bottom up: NICs stop feeding installers before those go, and
  // everything goes before the store.
  Config config_;
  const absl::Time started_ = WallNow();
  std::unique_ptr<report::Reporter> reporter_;
  Storage storage_;
  event::EventLog events_;
  report::Defence defence_{&events_};
  std::unique_ptr<xsk::Steering> steering_;
  std::unique_ptr<reinject::Injector> prober_;
  std::unique_ptr<Services> services_;
  DeviceWatch devices_;
  std::unique_ptr<Nics> nics_;
  std::unique_ptr<Front> front_;
  Seen seen_;
};

}  // namespace wicket::gateway
