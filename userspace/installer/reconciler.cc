#include "installer/reconciler.h"

#include <algorithm>

#include "base/clock.h"

namespace wicket::installer {
namespace {

constexpr size_t kSlice = 16;  // peers changed in the device before the queues are served again

}  // namespace

void Reconciler::Clear() {
  outdated_.clear();
  keepalives_.clear();
  revoked_.clear();
}

bool Reconciler::Step(store::Snapshot* snapshot) {
  RemoveRevoked();
  return Correct(snapshot) && SetKeepalives(snapshot);
}

std::vector<store::Peer> Reconciler::TakeStored(std::deque<PublicKey>* from,
                                                store::Snapshot* snapshot) {
  std::vector<store::Peer> peers;
  if (from->empty() || !snapshot->Renew().ok()) return peers;
  for (size_t i = 0; i < kSlice && !from->empty(); ++i) {
    const PublicKey key = from->front();
    from->pop_front();
    absl::StatusOr<store::Peer> peer = snapshot->FindPeer(key);
    const bool ours =
        peer.ok() && peer->device == hand_->name() && residents_->Find(key) != nullptr;
    if (ours) peers.push_back(std::move(*peer));
  }
  snapshot->Release();
  return peers;
}

bool Reconciler::Correct(store::Snapshot* snapshot) {
  const std::vector<store::Peer> peers = TakeStored(&outdated_, snapshot);
  if (peers.empty()) return true;
  std::vector<wgdev::PeerInstall> installs;
  for (const store::Peer& peer : peers) {
    const bool held = residents_->Find(peer.config.public_key)->keepalive_held;
    installs.push_back({.config = &peer.config, .hold_keepalive = held});
  }
  const std::vector<absl::Status> results = hand_->Install(installs);
  for (size_t i = 0; i < results.size(); ++i) {
    journal_->Add(results[i].ok() ? Count::kCorrected : Count::kInstallErrors);
    Resident* peer = residents_->Find(peers[i].config.public_key);
    if (results[i].ok() && peer != nullptr) peer->given.emplace(peers[i].config);
    if (absl::IsUnavailable(results[i])) AddOutdated(peers[i].config.public_key);
    if (absl::IsNotFound(results[i])) return false;
  }
  return true;
}

bool Reconciler::SetKeepalives(store::Snapshot* snapshot) {
  const std::vector<store::Peer> peers = TakeStored(&keepalives_, snapshot);
  if (peers.empty()) return true;
  std::vector<const PeerConfig*> configs;
  for (const store::Peer& peer : peers) configs.push_back(&peer.config);
  const std::vector<absl::Status> results = hand_->SetKeepalives(configs);
  for (size_t i = 0; i < results.size(); ++i) {
    if (absl::IsUnavailable(results[i])) AddKeepalive(configs[i]->public_key);
    if (absl::IsNotFound(results[i])) return false;
  }
  return true;
}

absl::Status Reconciler::Sync(const PublicKey& key, bool swept, store::Snapshot* snapshot) {
  if (hand_->device() == nullptr) return absl::OkStatus();  // the revocation is remembered
  WICKET_RETURN_IF_ERROR(snapshot->Renew());
  const auto stored = snapshot->FindPeer(key);
  const bool revoked = snapshot->IsRevoked(hand_->name(), key);
  snapshot->Release();
  if (!stored.ok() && !absl::IsNotFound(stored.status())) return stored.status();
  if (!stored.ok() || stored->device != hand_->name()) return SyncRemoved(key, revoked, swept);
  const Resident* peer = residents_->Find(key);
  if (peer == nullptr) return absl::OkStatus();
  // The census takes it out when the clock can be believed.
  if (stored->expires <= WallNow()) {
    hand_->Apply(FlowChange{peer->session.endpoint, false});
    return absl::OkStatus();
  }
  residents_->SetPinned(key, stored->pinned);
  if (peer->revoked) residents_->Stay(key);  // deleted, and created again before it was removed
  return Update(stored->config);
}

// The kernel drops a peer's data for a moment while its allowed IPs are replaced, so that is done
// only when they have changed. Labels and expiry are nothing to the device.
absl::Status Reconciler::Update(const PeerConfig& config) {
  Resident* peer = residents_->Find(config.public_key);
  const GivenConfig wanted(config);
  if (peer->given && peer->given->all == wanted.all) return absl::OkStatus();
  const bool same_ips = peer->given && peer->given->allowed_ips == wanted.allowed_ips;
  const absl::Status updated = hand_->Install({{{.config = &config,
                                                 .hold_keepalive = peer->keepalive_held,
                                                 .replace_allowed_ips = !same_ips}}})[0];
  if (updated.ok()) {
    peer->given = wanted;
  } else {
    peer->given.reset();
  }
  return updated;
}

absl::Status Reconciler::SyncRemoved(const PublicKey& key, bool revoked, bool swept) {
  const Resident* peer = residents_->Find(key);
  if (peer == nullptr && !revoked) return absl::OkStatus();
  // Until a whole dump was seen, the device may hold a peer that is not adopted yet.
  if (peer != nullptr || !swept) {
    const absl::Status removed = hand_->Remove({{key}})[0];
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  }
  if (peer != nullptr) {
    hand_->Apply(FlowChange{peer->session.endpoint, false});
    journal_->Add(Count::kEvictedRevoked);
    journal_->Note(event::Kind::kEvicted, key, peer->session.endpoint, "no longer stored");
    residents_->Erase(key);
  }
  if (revoked) ForgetRevoked(key);
  return absl::OkStatus();
}

void Reconciler::RemoveRevoked() {
  const auto end = revoked_.begin() + static_cast<ptrdiff_t>(std::min(kSlice, revoked_.size()));
  std::vector<PublicKey> slice(revoked_.begin(), end);
  revoked_.erase(revoked_.begin(), end);
  // One may have been created again, and installed.
  std::erase_if(slice, [this](const PublicKey& key) { return residents_->Find(key) != nullptr; });
  if (slice.empty()) return;
  const std::vector<absl::Status> results = hand_->Remove(slice);
  for (size_t i = 0; i < slice.size(); ++i) {
    if (!results[i].ok()) continue;
    journal_->Add(Count::kEvictedRevoked);
    journal_->Note(event::Kind::kEvicted, slice[i], {}, "no longer stored");
    ForgetRevoked(slice[i]);
  }
}

void Reconciler::RemoveForeign(const std::vector<PublicKey>& foreign, store::Snapshot* snapshot) {
  std::vector<PublicKey> keys;
  if (foreign.empty() || !snapshot->Renew().ok()) return;
  for (const PublicKey& key : foreign) {
    if (absl::IsNotFound(snapshot->FindPeer(key).status())) keys.push_back(key);
  }
  snapshot->Release();
  if (keys.empty()) return;
  const std::vector<absl::Status> results = hand_->Remove(keys);
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!results[i].ok()) continue;
    journal_->Add(Count::kDisowned);
    journal_->Note(event::Kind::kEvicted, keys[i], {}, "not stored, and the device is owned");
  }
}

void Reconciler::ForgetRevoked(const PublicKey& key) {
  committer_->Submit([device = hand_->name(),
                      key](store::Writer& writer) { return writer.ForgetRevoked(device, key); },
                     [](const absl::Status&) {});  // on failure, the next start finds it done
}

void Reconciler::ForgetRevokedBefore(absl::Time before) {
  committer_->Submit(
      [device = hand_->name(), before](store::Writer& writer) {
        return writer.ForgetRevokedBefore(device, before);
      },
      [](const absl::Status&) {});  // revocations that stay do no harm
}

}  // namespace wicket::installer
