#include "installer/upkeep.h"

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"

namespace wicket::installer {
namespace {

constexpr size_t kSlice = 16;  // peers changed in the device before the queues are served again
constexpr absl::Duration kDumpInterval = absl::Seconds(1);
// Dumps of a small device take at most a hundredth of the time. On a large device they take more,
// since the pause between two dumps is at most kDumpPauseMax.
constexpr int kDumpDutyCycle = 100;
constexpr absl::Duration kDumpPauseMax = absl::Seconds(5);
constexpr absl::Duration kSaveInterval = absl::Seconds(1);
// Reads of the device's key take at most a tenth of the time, whatever the flood.
constexpr int kLookDutyCycle = 10;

}  // namespace

bool Upkeep::Step(Residents::Press press) {
  const absl::Duration steady = SteadyNow();
  SaveSessions(steady);
  LetLeave(steady, press);
  if (state_->hand.dump() != nullptr) return StepDump();
  if (!reconciler_.Step(&*state_->snapshot)) return false;
  return steady < next_dump_ || BeginDump(steady);
}

void Upkeep::Clear() {
  busiest_.Clear();
  departures_.Clear();
  census_.Clear();
  reconciler_.Clear();
  next_dump_ = absl::ZeroDuration();
  has_other_keys_ = false;
  surveyed_ = false;
}

absl::StatusOr<bool> Upkeep::LookForOtherKeys() {
  const absl::Duration steady = SteadyNow();
  if (steady < next_look_) return false;
  const absl::StatusOr<wgdev::DeviceInfo> info = state_->hand.device()->ReadInfo();
  state_->hand.Beat();
  const absl::Duration now = SteadyNow();
  next_look_ = now + kLookDutyCycle * (now - steady);
  if (absl::IsNotFound(info.status())) return info.status();
  if (!info.ok()) return false;
  has_other_keys_ |=
      info->public_key != state_->hand.own_key() || info->listen_port != state_->hand.port();
  return true;
}

// Also called during a dump, which takes seconds on a large device.
void Upkeep::SaveSessions(absl::Duration steady) {
  if (steady < next_save_) return;
  next_save_ = steady + kSaveInterval;
  state_->surroundings.saver->Submit(state_->residents.TakeDirty());
}

void Upkeep::LetLeave(absl::Duration steady, Residents::Press press) {
  state_->hand.Apply(departures_.Begin(&state_->residents, steady, press));
  if (departures_.Choose(&state_->residents)) {
    departures_.Await(state_->surroundings.saver->Submit(state_->residents.TakeDirty()), steady);
  }
  const SessionSaver& saver = *state_->surroundings.saver;
  if (!departures_.MayGo(saver.SavedUpTo(), saver.fails(), steady)) return;
  if (!state_->snapshot->Renew().ok()) return;
  const std::vector<PublicKey> slice =
      departures_.Slice(&state_->residents, *state_->snapshot, WallNow(), kSlice,
                        [&](const PublicKey& key) { return saver.Keeps(key); });
  state_->snapshot->Release();
  if (slice.empty()) return;
  const std::vector<absl::Status> results = state_->hand.Remove(slice);
  for (size_t i = 0; i < slice.size(); ++i) {
    if (results[i].ok()) state_->surroundings.saver->NoteLeft(slice[i]);
    if (departures_.Removed(slice[i], results[i], &state_->residents)) {
      reconciler_.ForgetRevoked(slice[i]);
    }
  }
}

bool Upkeep::BeginDump(absl::Duration steady) {
  next_dump_ = steady + kDumpInterval;
  const absl::Status begun = state_->hand.BeginDump();
  dump_took_ = SteadyNow() - steady;
  all_judged_ = true;
  if (begun.ok()) {
    census_.Begin(&state_->residents);
    busiest_.Begin();
  }
  if (begun.ok() || absl::IsNotFound(begun)) return begun.ok();
  surveyed_ = true;
  if (state_->journal.Read(Count::kDumpErrors) == 0) {
    Log(LogLevel::kWarning, About{state_->options.name},
        "the device cannot be dumped, so no peer is ", "confirmed or removed: ", begun.message());
  }
  state_->journal.Add(Count::kDumpErrors);
  return true;
}

bool Upkeep::StepDump() {
  const absl::Duration begin = SteadyNow();
  std::vector<wgdev::PeerStats> peers;
  const absl::StatusOr<bool> more = state_->hand.dump()->Next(&peers);
  state_->hand.Beat();
  if (!state_->snapshot->Renew().ok()) {  // no decision without the store
    all_judged_ = false;
    peers.clear();
  }
  const Instant now = InstantNow();
  for (const wgdev::PeerStats& stats : peers) {
    if (state_->hand.WasRemoved(stats.public_key)) continue;
    const Census::Finding finding =
        census_.Observe(stats, *state_->snapshot, &state_->residents, SteadyNow(), now);
    state_->hand.Apply(finding.flows);
    if (busiest_.wanted()) {
      const Resident* peer = state_->residents.Find(stats.public_key);
      if (peer != nullptr) busiest_.Note(stats.public_key, peer->session);
    }
    if (finding.outdated) reconciler_.AddOutdated(stats.public_key);
    if (finding.keepalive) reconciler_.AddKeepalive(stats.public_key);
  }
  state_->snapshot->Release();
  dump_took_ += SteadyNow() - begin;
  if (more.ok() && *more) return true;
  if (!more.ok()) {
    Log(LogLevel::kDebug, About{state_->options.name}, "dump: ", more.status().message());
    state_->journal.Add(Count::kDumpErrors);
    if (absl::IsNotFound(more.status())) return false;
  } else {
    has_other_keys_ |= state_->hand.HasOtherKeys();
  }
  const bool complete = more.ok() && all_judged_ && !state_->hand.dump()->interrupted();
  state_->hand.EndDump();
  FinishDump(complete);
  return true;
}

void Upkeep::FinishDump(bool complete) {
  state_->surroundings.saver->Submit(state_->residents.TakeDirty());  // some may be forgotten here
  const Census::Outcome outcome =
      census_.End(complete, &state_->residents, state_->options.owned ? kSlice : size_t{0});
  state_->hand.Apply(outcome.flows);
  reconciler_.SetRevoked(outcome.revoked);
  // A complete dump without a revoked peer ends the memory of all revocations before this process.
  if (outcome.swept) reconciler_.ForgetRevokedBefore(made_);
  reconciler_.RemoveForeign(outcome.foreign, &*state_->snapshot);
  surveyed_ = true;
  if (complete) dumped_ns_ = SteadyNanos();
  busiest_.Publish(complete, [this](const PublicKey& key) {
    const Resident* peer = state_->residents.Find(key);
    return peer == nullptr ? nullptr : &peer->session;
  });
  state_->journal.RecordDump(dump_took_);
  next_dump_ =
      std::max(next_dump_, SteadyNow() + std::min(kDumpPauseMax, kDumpDutyCycle * dump_took_));
}

}  // namespace wicket::installer
