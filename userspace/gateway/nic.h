// One NIC: the XDP program on its hook, and a shard for each RX queue.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "document/status_text.h"
#include "gateway/config.h"
#include "gateway/nic_watch.h"
#include "installer/installer.h"
#include "shard/shard.h"

namespace wicket::gateway {

// Objects that all NICs share. Not owned; they outlive every Nic.
struct NicContext {
  xsk::Steering* steering;
  reinject::Injector* injector;  // for probing only
  const store::Store* store;
  Published<intake::DeviceTable>* devices;
  std::vector<installer::Installer*> installers;  // by device index
  intake::VerdictCounters* verdicts;              // sum over shards that are gone
  std::vector<bool>* slots_used;                  // STEER_SLOTS_MAX
  event::EventLog* events;
  const Calls* wake;  // woken when a tick should come early; or null
  bool pin_threads;
  crypto::X25519Backend x25519;
};

// Thread: one.
class Nic {
 public:
  Nic(NicConfig config, NicContext context) : config_(std::move(config)), context_(context) {}
  ~Nic() { Down(); }
  Nic(const Nic&) = delete;

  // Attaches the program, binds a socket to every queue, and starts steering to them.
  // Requires: !up().
  // Errors:   those of the call that failed; the NIC is down then, and its traffic passes.
  absl::Status Up(reinject::Mode wanted);
  // Stops steering, then the shards. The installers still serve what was proven. The program stays
  // on the NIC and passes everything.
  void Down();

  // Requires: up().
  // Errors:   the NIC cannot do it; the mode stays as it was.
  absl::Status SetReinject(reinject::Mode wanted);

  uint32_t shards() const { return queues_; }
  bool up() const { return attachment_.ifindex != 0; }
  // Waits for nobody. `look`: the latest; null: there was none.
  // Requires: up().
  // Returns:  what has changed since Up(), or an empty string.
  absl::string_view Changed(const NicLook* look) const;
  const std::string& name() const { return config_.name; }
  installer::NicRoute route() const { return {attachment_.ifindex, reinject_}; }

  // Passes the shards' sightings to the event log.
  void DrainSightings(const std::vector<DeviceConfig>& devices);
  void AddVerdicts(std::map<std::string, uint64_t>* verdicts) const;
  void AddThreads(std::vector<document::ThreadStatus>* threads) const;
  document::NicStatus Status() const;
  std::string Describe() const;

 private:
  struct Lane {
    std::unique_ptr<intake::SightingQueue> sightings;
    std::vector<std::shared_ptr<intake::DemandQueue>> queues;  // by device index
    std::unique_ptr<intake::VerdictCounters> verdicts;
    std::unique_ptr<shard::Shard> shard;
  };

  absl::Status StartLanes();
  absl::Status StartLane(uint32_t queue);
  // Adds its recent waits to `waits`.
  static document::QueueStatus StatusOf(const Lane& lane, Histogram* waits);

  NicConfig config_;
  NicContext context_;
  xsk::Attachment attachment_;
  reinject::Mode reinject_ = reinject::Mode::kWait;
  std::string reinject_reason_;
  uint32_t first_slot_ = 0;
  uint32_t queues_ = 0;
  std::array<uint8_t, 6> mac_{};
  uint64_t up_since_ns_ = 0;
  std::vector<Lane> lanes_;
};

}  // namespace wicket::gateway
