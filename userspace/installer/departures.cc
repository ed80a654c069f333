#include "installer/departures.h"

#include "base/log.h"

namespace wicket::installer {
namespace {

constexpr size_t kChosenMax = 256;
// A save that takes longer counts as one that cannot be made.
constexpr absl::Duration kPatience = absl::Seconds(10);

}  // namespace

FlowChanges Departures::Begin(Residents* residents, absl::Duration steady, Residents::Press press) {
  FlowChanges flows;
  for (const PublicKey& key : residents->BeginLeaving(steady, kChosenMax, press)) {
    flows.push_back({residents->Find(key)->session.endpoint, false});
  }
  for (const PublicKey& key : residents->TakeReturned()) {
    const Resident* peer = residents->Find(key);  // may be gone or revoked by now
    if (peer == nullptr || peer->leaving || !peer->confirmed) continue;
    flows.push_back({peer->session.endpoint, true});
  }
  return flows;
}

bool Departures::Choose(Residents* residents) {
  if (waiting()) return false;
  const std::vector<PublicKey> removable = residents->TakeRemovable(kChosenMax);
  for (const PublicKey& key : removable) residents->MarkDirty(key);
  chosen_.assign(removable.begin(), removable.end());
  return waiting();
}

void Departures::Await(uint64_t ticket, absl::Duration steady) {
  ticket_ = ticket;
  patience_ends_ = steady + kPatience;
}

bool Departures::MayGo(uint64_t saved_up_to, bool saves_fail, absl::Duration steady) const {
  return waiting() && (saved_up_to >= ticket_ || saves_fail || steady > patience_ends_);
}

std::vector<PublicKey> Departures::Slice(Residents* residents, const store::Snapshot& snapshot,
                                         absl::Time wall, size_t count,
                                         absl::FunctionRef<bool(const PublicKey&)> is_kept) {
  std::vector<PublicKey> slice;
  while (!chosen_.empty() && slice.size() < count) {
    const PublicKey key = chosen_.front();
    chosen_.pop_front();
    // It may have come back through us since the dump.
    const Resident* peer = residents->Find(key);
    if (peer == nullptr || !peer->leaving) continue;
    store::PeerView stored;
    const bool is_stored = snapshot.ViewPeer(key, &stored) == store::Snapshot::Found::kYes &&
                           stored.device == journal_->device();
    const bool is_wanted = peer->revoked && is_stored && stored.expires > wall &&
                           !store::UsedUp(stored.quota, peer->session, wall);
    if (is_wanted || (is_stored && !is_kept(key))) {
      residents->Stay(key);
    } else {
      slice.push_back(key);
    }
  }
  return slice;
}

bool Departures::Removed(const PublicKey& key, const absl::Status& status, Residents* residents) {
  if (!status.ok()) {
    Log(LogLevel::kWarning, About{journal_->device(), &key},
        " was not removed: ", status.message());
    residents->Stay(key);
    return false;
  }
  const Resident& peer = *residents->Find(key);
  const bool revoked = peer.revoked;
  journal_->Add(revoked          ? Count::kEvictedRevoked
                : peer.confirmed ? Count::kEvictedIdle
                                 : Count::kEvictedUnconfirmed);
  journal_->Note(event::Kind::kEvicted, key, {},
                 peer.over_quota  ? "its quota is used up"
                 : revoked        ? "no longer stored"
                 : peer.confirmed ? "its session is dead"
                                  : "the session was never confirmed");
  residents->Erase(key);
  return revoked;
}

}  // namespace wicket::installer
