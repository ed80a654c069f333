// The thread that owns a device: installs proven peers, and removes idle ones.
//
//   demand queues -> Batch:  gather -> Admission -> install -> note the flow -> Returner
//                      ^                               |
//                      +-- sleeps when idle            +-- a result per peer
//   between batches:  Calls  |  Upkeep: Census of a dump's chunk, Departures, Reconciler, sessions
//
// Batches form by themselves: an idle installer takes one demand immediately, a busy one takes what
// gathered in the meantime, up to 64 and as much as the device has room for. None is judged before
// the device was dumped once, and what waited for 2.5 s is dropped. Upkeep waits until the queues
// are empty, but not for ever. Nothing of the device is behind a lock: other threads leave calls
// (calls.h). The locks of the session saver, the committer, the events, the log and the busiest
// peers are shared: they are held for moves in memory, of a thousand sessions at most, and never
// for a disk or a device.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "base/calls.h"
#include "base/handoff.h"
#include "installer/batch.h"
#include "installer/presence.h"
#include "installer/upkeep.h"
#include "roster/devices.h"

namespace wicket::installer {

class Installer {
 public:
  // Opens nothing: the device may appear later.
  Installer(Options options, Surroundings surroundings);
  // Serves the demands left, for up to a second; submits unsaved sessions to the saver; joins the
  // thread.
  ~Installer();

  // Does what can fail, and starts the thread. Errors: those of Injector::Open and the store.
  absl::Status Start();
  // Waits until the thread has looked for the device once, for at most `patience`.
  void AwaitFirstLook(absl::Duration patience);

  // --- left by the gateway, which never waits for them ---

  // Begins to end, as the destructor does, without waiting for it.
  void Stop();
  // An eventfd, for shards to write to after they have queued demands. Lifetime: this.
  int wake_fd() const { return calls_.wake_fd(); }
  void AddQueue(std::shared_ptr<intake::DemandQueue> queue);
  // The demands left in the queue are still served. Requires: its shard is gone.
  void CloseQueue(const intake::DemandQueue* queue);
  void SetRoutes(std::vector<NicRoute> routes);
  // Requires: the constructor's name. busiest_max stays as it was then; the backend counts from the
  // next time that the device is opened.
  void SetOptions(const Options& options);
  // The wall clock was stepped.
  void NoteClockStep();
  // Asks the device for its key and port, soon but not too often.
  void LookForNewKey();

  // --- asked by the control interface. Thread: any but the installer's own ---
  //
  // As of roster::Devices, which also says how long each waits.

  absl::StatusOr<roster::InstalledByKey> Find(std::span<const PublicKey> keys);
  absl::StatusOr<std::vector<PublicKey>> List(const std::optional<PublicKey>& after, size_t count);
  std::vector<absl::Status> Sync(std::span<const PublicKey> keys);
  void SyncLater(std::vector<PublicKey> keys);
  absl::Status ForgetMark(const PublicKey& key);

  // --- published by the thread, for any thread to read ---

  // Returns: what the device is found to be, if that has changed since the last call; else null.
  // Thread: one.
  std::unique_ptr<FoundDevice> TakeFound() { return presence_.Take(); }
  // Nearly half of the probation slots are taken: senders should prove their address first.
  const std::atomic<bool>& crowded() const { return signals_.crowded; }
  // When the thread last made progress, in SteadyNanos(): about four times a second or more,
  // unless a call to the device takes longer.
  const std::atomic<uint64_t>& beat_ns() const { return state_.hand.beat_ns(); }
  // When the last complete dump ended, in SteadyNanos(); 0: there was none.
  uint64_t dumped_ns() const { return signals_.dumped_ns; }
  // Returns: the peers in the device that the store does not hold for it, if they have changed
  //          since the last call; else null. Without deleted peers that are still to be removed.
  // Thread: one.
  std::unique_ptr<intake::ForeignPeers> TakeForeign() { return foreign_.Take(); }
  // Sets all but name, backend, away_reason, key, port and limits.
  void FillStatus(document::DeviceStatus* status) const;

 private:
  // The values that other threads read or set.
  struct Signals {
    std::atomic<bool> crowded{false}, look{false}, stop{false};
    std::atomic<uint64_t> installed{0}, unconfirmed{0}, foreign{0}, dumped_ns{0};
  };
  std::vector<absl::Status> SyncSlice(const std::vector<PublicKey>& keys);
  void Loop();
  bool RunOnce();
  bool MayEnd() const;
  void FollowDevice();
  void DoUpkeep();
  void PublishSignals();
  void LoseDevice(absl::string_view why);
  void WakeGateway();

  State state_;
  Calls calls_;
  Signals signals_;
  Handoff<intake::ForeignPeers> foreign_;
  Presence presence_{&state_.hand};
  Upkeep upkeep_{&state_};
  Batch batch_{&state_, &upkeep_.census()};
  uint32_t batches_since_upkeep_ = 0;
  std::thread thread_;
};

}  // namespace wicket::installer
