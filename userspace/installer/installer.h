// One thread per device: puts proven peers into it, and takes idle ones out.
//
//   shard queues --> gather --> replay? --> read record --> Install --> note flow --> give back
//                      ^                                       |
//                      +-- sleeps when there is nothing        +-- a result per peer
//   between batches:  dump chunk | evict slice | hand sessions to the saver
//
// Batches form by themselves: an idle installer takes one request at once, a
// busy one takes what has gathered meanwhile. Housekeeping waits for the queues
// to be empty, but not for ever.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/time/clock.h"
#include "base/fd.h"
#include "base/histogram.h"
#include "document/status_text.h"
#include "event/event_log.h"
#include "installer/residents.h"
#include "intake/demand_queues.h"
#include "installer/session_saver.h"
#include "reinject/injector.h"
#include "reinject/pacer.h"
#include "intake/pipeline.h"
#include "store/store.h"
#include "installer/options.h"
#include "reinject/mode.h"
#include "roster/devices.h"
#include "wgdev/device.h"
#include "xsk/steering.h"

namespace wicket::installer {

// X(name, text, what it means)
#define WICKET_INSTALLER_COUNTS(X)                                                       \
  X(Requests, "requests", "proven initiations received from the shards")                 \
  X(Installs, "installs", "peers put into the device")                                   \
  X(InstallErrors, "install_errors", "peers the device refused")                         \
  X(Reinjected, "reinjected", "initiations given back to the kernel")                    \
  X(ReinjectErrors, "reinject_errors", "initiations that could not be given back")       \
  X(Roamed, "roamed", "initiations of installed peers from a new flow")                  \
  X(Healed, "healed", "installed peers that got no answer, installed once more")         \
  X(Foreign, "foreign", "initiations of peers that others put into the device")          \
  X(TooOften, "too_often", "refused: a second initiation of a peer within 20 ms")        \
  X(TooLate, "too_late", "refused: waited for so long that the client tries again")      \
  X(HeldBack, "held_back", "milliseconds of waiting for the device to answer others")    \
  X(ByTime, "by_time", "of reinjected: at a guessed rate, for no backlog is known")      \
  X(Replays, "replays", "refused: the timestamp is not newer than the last one")         \
  X(FutureStamps, "future_stamps", "accepted, from a clock over 10 minutes ahead")       \
  X(Full, "full", "refused: installed_max reached")                                      \
  X(ProbationFull, "probation_full", "refused: probation_max reached")                   \
  X(ProbationCookie, "probation_cookie", "refused: half of it taken, and no cookie")     \
  X(ProbationSource, "probation_source", "refused: too many of one source on probation") \
  X(Gone, "gone", "refused: removed from the store, or expired, since it was proven")    \
  X(Confirmed, "confirmed", "sessions confirmed by a first data packet")                 \
  X(EvictedIdle, "evicted_idle", "peers removed because their session was dead")         \
  X(EvictedUnconfirmed, "evicted_unconfirmed", "peers removed because no session came")  \
  X(EvictedRevoked, "evicted_revoked", "peers removed because they are stored no more")  \
  X(Adopted, "adopted", "stored peers found in the device")                              \
  X(Corrected, "corrected", "adopted peers whose settings were not those stored")        \
  X(Disowned, "disowned", "peers that the store does not know, removed as `owned` asks") \
  X(Missing, "missing", "peers somebody else removed from the device")

enum class InstallerCount : uint8_t {
#define WICKET_INSTALLER_ENUM(name, text, help) k##name,
  WICKET_INSTALLER_COUNTS(WICKET_INSTALLER_ENUM)
#undef WICKET_INSTALLER_ENUM
      kMax
};

// Where and how the installer gives packets back, by interface index; published
// by the gateway.
struct NicRoute {
  int ifindex = 0;
  reinject::Mode mode = reinject::Mode::kRaw;  // never kAuto
};

class Installer {
 public:
  // Opens nothing yet: the device may appear later. What is pointed to outlives the installer;
  // `turns` is that of all devices.
  Installer(Options config, const store::Store* store, store::Committer* committer,
            SessionSaver* saver, xsk::Steering* steering, reinject::TurnClock* turns,
            event::EventLog* events);
  // Hands what is not saved to the saver, and joins the thread.
  ~Installer();

  // Prepares what can fail. Errors: those of Injector::Open and the store.
  absl::Status Start();

  int wake_fd() const { return wake_.get(); }
  // Adds or removes a shard's queue. Thread: any; waits for the current batch.
  void AddQueue(intake::DemandQueue* queue);
  void RemoveQueue(intake::DemandQueue* queue);
  void SetRoutes(std::vector<NicRoute> routes);
  void SetConfig(const Options& config);
  // The device came: it has none of our peers but those that a dump will show.
  void SetDevice(std::unique_ptr<wgdev::Device> device, const PublicKey& own_key, uint16_t port);
  // The device is the same and has other keys or another port.
  void SetKeys(const PublicKey& own_key, uint16_t port);
  // The peers in the device that the store does not know for it. A new set when
  // it has changed; never null.
  std::shared_ptr<const intake::ForeignPeers> foreign() const;

  // --- what the control interface asks; from any thread, each waits for the current batch ---

  // Returns: nullopt when the peer is not in the device.
  std::optional<roster::Installed> Find(const PublicKey& key) const;
  // Keys after `after`, in their order, at most `count`.
  std::vector<PublicKey> ListInstalled(const std::optional<PublicKey>& after, size_t count) const;
  // Makes the device agree with what is committed of an installed peer.
  // Returns: ok also when it is not installed. Errors: the device's.
  absl::Status Sync(const PublicKey& key);
  void ForgetMark(const PublicKey& key);

  // Asks the device for its key, soon and not too often. When it has another, device_changed() says
  // so. Thread: any.
  void LookForNewKey();

  // What the gateway looks after: the device is gone; it has another key or port.
  bool device_lost() const { return device_lost_.load(std::memory_order_relaxed); }
  bool device_changed() const { return device_changed_.load(std::memory_order_relaxed); }

  // Nearly half of the probation is taken: whoever comes is to prove his address first.
  const std::atomic<bool>& crowded() const { return crowded_; }

  void FillStatus(document::DeviceStatus* status) const;

 private:
  struct Pending {
    intake::Demand request;
    Resident* peer = nullptr;  // null: to be installed
    std::optional<store::Peer> stored;
    store::Session session;
    bool install = false;
    bool reset = false;  // remove it first: the device must forget a stamp from the future
    bool ready = false;  // to be given back
  };

  void Loop();
  void DropLate();
  size_t Room();
  size_t Gather(size_t most);
  void Admit(Pending* pending, absl::Time now, absl::Duration steady);
  uint64_t OpenPlaces() const { return (config_.probation_max + 1) / 2; }
  // From here on whoever comes is asked for a cookie. Some are on their way meanwhile without one,
  // and would be refused without a word if all of the places were taken.
  bool Crowded() const { return installed_.on_probation() >= OpenPlaces() - OpenPlaces() / 16; }
  bool CrowdsProbation(const Address& source, uint64_t newcomers) const;
  void AdmitForeign(Pending* pending);
  void LoseDevice();
  void InstallBatch(absl::Duration steady);
  void NoteInstalled(const Pending& pending, absl::Duration steady);
  bool GiveBack(Pending* pending);
  void Housekeep();
  void LetLeave(absl::Duration steady);
  void Look(absl::Duration steady);
  void StepDump();
  void ObserveInDump(const wgdev::PeerStats& stats);
  void FinishDump(bool complete);
  void EvictSlice();
  std::vector<absl::Status> Remove(std::span<const PublicKey> keys);
  void RemoveForeign();
  void CorrectSlice();
  void RemoveRevoked(bool complete);
  void ForgetRevoked(const PublicKey& key);
  void AdoptUnknown(const wgdev::PeerStats& stats);
  std::unique_lock<std::mutex> Lock() const;
  reinject::Mode RouteMode(int ifindex) const;
  void Note(event::Kind kind, const PublicKey& key, const Endpoint& source,
            const char* reason = "") const;
  void Count(InstallerCount count, uint64_t n = 1) {
    counts_[static_cast<size_t>(count)].fetch_add(n, std::memory_order_relaxed);
  }

  Options config_;
  const store::Store* store_;
  store::Committer* committer_;
  SessionSaver* saver_;
  xsk::Steering* steering_;
  event::EventLog* events_;
  Fd wake_;

  // Held for a batch, not for a packet; guards all below it. Whoever waits for it
  // says so, since the loop would take it again at once.
  mutable std::mutex mutex_;
  mutable std::atomic<int> lock_waiters_{0};
  std::optional<store::Snapshot> snapshot_;
  std::unique_ptr<reinject::Injector> injector_;
  std::unique_ptr<wgdev::Device> device_;
  PublicKey own_key_;
  uint16_t port_ = 0;
  reinject::TurnClock* turns_;
  std::unique_ptr<reinject::Pacer> pacer_;
  absl::Duration next_look_;
  intake::DemandQueues queues_;
  bool held_back_ = false;  // requests wait, and the device has enough to answer
  std::vector<NicRoute> routes_;
  Residents installed_;
  std::vector<Pending> batch_;
  std::unique_ptr<wgdev::Dump> dump_;
  absl::flat_hash_set<PublicKey> removed_in_dump_;  // since it began
  absl::Duration dump_took_, next_dump_, next_save_;
  const absl::Time made_ = absl::Now();
  bool swept_ = false;  // a complete dump has shown the device since it came
  std::vector<PublicKey> revoked_in_dump_;
  std::deque<PublicKey> outdated_;  // adopted, with other settings than those stored
  std::deque<PublicKey> evictions_;
  uint64_t evictions_ticket_ = 0;  // their sessions are durable when the saver has reached it
  absl::Duration evictions_expire_;
  bool pressed_ = false;  // a newcomer was refused for want of room
  uint32_t batches_since_housekeeping_ = 0;
  std::shared_ptr<const intake::ForeignPeers> foreign_ =
      std::make_shared<const intake::ForeignPeers>();
  intake::ForeignPeers foreign_in_dump_;

  std::array<std::atomic<uint64_t>, static_cast<size_t>(InstallerCount::kMax)> counts_{};
  std::atomic<bool> crowded_{false};
  std::atomic<uint64_t> installed_count_{0}, unconfirmed_count_{0}, foreign_count_{0};
  std::atomic<bool> device_lost_{false}, device_changed_{false}, look_{false}, stop_{false};
  RecentHistogram seen_to_given_back_;
  std::thread thread_;
};

}  // namespace wicket::installer
