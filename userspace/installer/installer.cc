#include "installer/installer.h"

#include <poll.h>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

namespace wicket::installer {
namespace {

constexpr size_t kSlice = 16;  // peers changed in the device by one call
constexpr size_t kCallsMax = 16;
constexpr absl::Duration kCallsBudget = absl::Microseconds(250);
constexpr uint32_t kBatchesPerUpkeep = 16;
constexpr int kIdleWait_ms = 250;
constexpr int kBusyWait_ms = 10;
constexpr absl::Duration kRoomWait = absl::Milliseconds(1);
// The limit of serving the demands that are left when the gateway stops.
constexpr absl::Duration kDrainTime = absl::Seconds(1);

absl::Status NoAnswer(const std::string& device) {
  return absl::UnavailableError(absl::StrCat(device, ": the device did not answer within ",
                                             absl::FormatDuration(roster::Devices::kPatience)));
}

}  // namespace

Installer::Installer(Options options, Surroundings surroundings)
    : state_(std::move(options), surroundings) {}

absl::Status Installer::Start() {
  WICKET_RETURN_IF_ERROR(batch_.returner().Open());
  WICKET_ASSIGN_OR_RETURN(state_.snapshot, state_.surroundings.store->NewSnapshot());
  state_.snapshot->Release();
  state_.hand.Beat();
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

// The thread looks for the device before it serves its first call.
void Installer::AwaitFirstLook(absl::Duration patience) {
  calls_.Ask([] { return true; }, patience);
}

void Installer::Stop() {
  signals_.stop = true;
  calls_.Wake();
}

Installer::~Installer() {
  Stop();
  if (thread_.joinable()) thread_.join();
}

// --- left by other threads --------------------------------------------------

void Installer::AddQueue(std::shared_ptr<intake::DemandQueue> queue) {
  calls_.Leave(
      [this, queue = std::move(queue)]() mutable { batch_.queues().Add(std::move(queue)); });
}

void Installer::CloseQueue(const intake::DemandQueue* queue) {
  calls_.Leave([this, queue] { batch_.queues().Close(queue); });
}

void Installer::SetRoutes(std::vector<NicRoute> routes) {
  calls_.Leave([this, routes = std::move(routes)]() mutable {
    batch_.returner().SetRoutes(std::move(routes));
  });
}

void Installer::SetOptions(const Options& options) {
  calls_.Leave([this, options] {
    state_.options = options;
    state_.residents.set_evict_after(options.evict_after);
  });
}

void Installer::NoteClockStep() {
  calls_.Leave([this] { upkeep_.census().NoteClockStep(SteadyNow()); });
}

void Installer::LookForNewKey() {
  signals_.look = true;
  calls_.Wake();
}

// --- the loop ---------------------------------------------------------------

void Installer::Loop() {
  NameThread(absl::StrCat("install/", state_.options.name));
  ServePackets();
  absl::Duration drained = absl::InfiniteDuration();
  while (!MayEnd() && SteadyNow() < drained) {
    if (signals_.stop && drained == absl::InfiniteDuration()) drained = SteadyNow() + kDrainTime;
    if (RunOnce()) continue;
    pollfd fd{calls_.wake_fd(), POLLIN, 0};
    poll(&fd, 1, upkeep_.busy() ? kBusyWait_ms : kIdleWait_ms);
    eventfd_t ignored;
    eventfd_read(calls_.wake_fd(), &ignored);
  }
  state_.surroundings.saver->Submit(state_.residents.TakeDirty());
  calls_.Close();
}

bool Installer::MayEnd() const {
  return signals_.stop && (state_.hand.device() == nullptr || batch_.queues().Waiting() == 0);
}

// Returns: whether to run again without sleeping.
bool Installer::RunOnce() {
  state_.hand.Beat();
  FollowDevice();
  const bool more_calls = calls_.Serve(kCallsMax, kCallsBudget);
  batch_.DropLate();
  // No demand is judged before the device was dumped once. A peer in it may have made handshakes
  // that no saved mark knows of.
  const bool judges = state_.hand.device() == nullptr || upkeep_.surveyed();
  const size_t gathered = judges ? batch_.Gather() : 0;
  if (gathered > 0 && !batch_.Run()) LoseDevice("an install: no such device");
  const bool held_back =
      judges && state_.hand.device() != nullptr && batch_.returner().held_back();
  if ((gathered == 0 && !held_back) || ++batches_since_upkeep_ >= kBatchesPerUpkeep) {
    batches_since_upkeep_ = 0;
    DoUpkeep();
  }
  PublishSignals();
  if (held_back) absl::SleepFor(kRoomWait);
  const bool dumps = state_.hand.dump() != nullptr;
  return more_calls || held_back || dumps || (state_.hand.device() != nullptr && gathered > 0);
}

// With the old key, every initiation made for a new one would be dropped as forged. A device that
// only changed its key keeps its peers, and we keep our knowledge of them.
void Installer::FollowDevice() {
  Hand& hand = state_.hand;
  const bool other_keys = hand.device() != nullptr && upkeep_.has_other_keys();
  if (!other_keys && !presence_.Due(SteadyNow())) return;
  if (hand.device() != nullptr && !presence_.StillThere()) {
    return LoseDevice("the interface was removed, or made again");
  }
  if (hand.device() != nullptr && !other_keys) return;
  const int before = presence_.found().ifindex;
  absl::StatusOr<std::unique_ptr<wgdev::Device>> device = presence_.Read(state_.options.backend);
  if (!device.ok()) {
    if (hand.device() != nullptr) LoseDevice("its key or port changed, and cannot be read");
    return;
  }
  WakeGateway();
  if (hand.device() != nullptr && presence_.found().ifindex != before) {
    return LoseDevice("the interface was made again");
  }
  if (hand.device() == nullptr) {
    upkeep_.Clear();
    batch_.returner().SetPacer(PacerFor(**device, hand.name(), state_.surroundings.turns));
    hand.Take(*std::move(device));
  }
  hand.SetKeys(presence_.found().public_key, presence_.found().port);
  upkeep_.ForgetOtherKeys();
}

void Installer::DoUpkeep() {
  if (state_.hand.device() == nullptr) return;
  if (signals_.look.exchange(false)) {
    const absl::StatusOr<bool> looked = upkeep_.LookForOtherKeys();
    if (!looked.ok()) return LoseDevice(looked.status().message());
    if (!*looked) signals_.look = true;
  }
  // After an inverted install the device keeps calling the peer for 90 s. A peer that does not
  // answer is removed before that.
  const Residents::Press press = {
      .established = batch_.admission().TakePressed(),
      .probation =
          batch_.returner().Inverts() || Admission::Crowded(state_.options, state_.residents)};
  if (!upkeep_.Step(press)) return LoseDevice("a dump or an update: no such device");
  if (auto foreign = upkeep_.census().TakeForeign()) foreign_.Put(std::move(foreign));
}

void Installer::PublishSignals() {
  batch_.queues().DropClosed();
  signals_.installed = state_.residents.size();
  signals_.unconfirmed = state_.residents.on_probation();
  signals_.crowded = Admission::Crowded(state_.options, state_.residents);
  signals_.foreign = upkeep_.census().foreign().size();
  signals_.dumped_ns = upkeep_.dumped_ns();
}

void Installer::WakeGateway() {
  if (state_.surroundings.gateway != nullptr) state_.surroundings.gateway->Wake();
}

// Forgets the device and the peers in it. When it comes back, the first dump shows what is still
// there.
void Installer::LoseDevice(absl::string_view why) {
  Log(LogLevel::kWarning, About{state_.options.name}, "the device went away (", why,
      "); its handshakes pass to the kernel until it is back");
  presence_.Lose();
  WakeGateway();
  state_.surroundings.saver->Submit(state_.residents.TakeDirty());
  state_.residents.Clear();
  upkeep_.Clear();
  state_.hand.Drop();
}

// --- asked by the control interface -----------------------------------------

absl::StatusOr<roster::InstalledByKey> Installer::Find(std::span<const PublicKey> keys) {
  auto found = calls_.Ask(
      [this, keys = std::vector<PublicKey>(keys.begin(), keys.end())] {
        roster::InstalledByKey installed;
        for (const PublicKey& key : keys) {
          const Resident* peer = state_.residents.Find(key);
          if (peer == nullptr) {
            const auto unsaved = state_.surroundings.saver->FindUnsaved(key);
            if (unsaved) installed.emplace(key, roster::Installed{nullptr, *unsaved});
            continue;
          }
          installed.emplace(key, roster::Installed{peer->leaving     ? "leaving"
                                                   : peer->confirmed ? "established"
                                                                     : "probation",
                                                   peer->session});
        }
        return installed;
      },
      roster::Devices::kPatience);
  if (!found) return NoAnswer(state_.journal.device());
  return *std::move(found);
}

absl::StatusOr<std::vector<PublicKey>> Installer::List(const std::optional<PublicKey>& after,
                                                       size_t count) {
  auto keys = calls_.Ask([this, after, count] { return state_.residents.List(after, count); },
                         roster::Devices::kPatience);
  if (!keys) return NoAnswer(state_.journal.device());
  return *std::move(keys);
}

// The thread orders the calls: a batch that read the store before the change has ended, so the
// peers it installed are found here; a later batch reads the change.
std::vector<absl::Status> Installer::Sync(std::span<const PublicKey> keys) {
  std::vector<absl::Status> results;
  bool answers = true;
  for (size_t begin = 0; begin < keys.size(); begin += kSlice) {
    const auto part = keys.subspan(begin, std::min(kSlice, keys.size() - begin));
    auto sync = [this, slice = std::vector<PublicKey>(part.begin(), part.end())] {
      return SyncSlice(slice);
    };
    std::optional<std::vector<absl::Status>> synced;
    if (answers) {
      synced = calls_.Ask(sync, roster::Devices::kPatience);
    } else {
      calls_.Leave([sync] { sync(); });
    }
    answers = synced.has_value();
    if (!answers) synced.emplace(part.size(), NoAnswer(state_.journal.device()));
    for (absl::Status& status : *synced) results.push_back(std::move(status));
  }
  return results;
}

// A device that does not answer takes seconds for each call, so it is not asked for the rest: that
// is corrected later.
std::vector<absl::Status> Installer::SyncSlice(const std::vector<PublicKey>& keys) {
  std::vector<absl::Status> results;
  Reconciler& reconciler = upkeep_.reconciler();
  for (const PublicKey& key : keys) {
    const bool hangs = !results.empty() && absl::IsUnavailable(results.back());
    results.push_back(hangs ? results.back()
                            : reconciler.Sync(key, upkeep_.census().swept(), &*state_.snapshot));
    if (absl::IsUnavailable(results.back())) reconciler.AddOutdated(key);
  }
  return results;
}

// Deleted peers leave like all others, in slices, after installs. A dump finds deleted peers that
// are in the device but not resident.
void Installer::SyncLater(std::vector<PublicKey> keys) {
  calls_.Leave([this, keys = std::move(keys)] {
    for (const PublicKey& key : keys) {
      const Resident* peer = state_.residents.Find(key);
      if (peer == nullptr) continue;
      state_.hand.Apply({{peer->session.endpoint, false}});
      state_.residents.Revoke(key);
    }
  });
}

absl::Status Installer::ForgetMark(const PublicKey& key) {
  const auto done = calls_.Ask(
      [this, key] {
        state_.surroundings.saver->Forget(key);  // it has the old mark
        Resident* peer = state_.residents.Find(key);
        if (peer == nullptr) return true;
        peer->session.mark = peer->past_us = {};
        peer->forget_stamp = true;
        state_.residents.MarkDirty(key);  // a session waiting to be saved has the old mark
        state_.surroundings.saver->Submit(state_.residents.TakeDirty());
        return true;
      },
      roster::Devices::kPatience);
  return done ? absl::OkStatus() : NoAnswer(state_.journal.device());
}

void Installer::FillStatus(document::DeviceStatus* status) const {
  state_.journal.FillStatus(status);
  status->installed = signals_.installed;
  status->installed_unconfirmed = signals_.unconfirmed;
  status->foreign = signals_.foreign;
  upkeep_.busiest().FillStatus(status);
  const uint64_t dumped_ns = signals_.dumped_ns;
  status->silent_s = SecondsSince(state_.hand.beat_ns());
  status->dumped_s_ago = dumped_ns == 0 ? -1 : SecondsSince(dumped_ns);
}

}  // namespace wicket::installer
