#include "installer/residents.h"

namespace wicket::installer {
namespace {

// The interval at which byte counts alone are saved: an active peer's change with every dump.
constexpr absl::Duration kCountsInterval = absl::Seconds(60);

}  // namespace

Instant HandshakeOf(const Resident& peer, const wgdev::PeerStats& stats, const Instant& now) {
  // The device's time of it is by the wall clock, which may have been stepped since.
  const Instant& mark = peer.session.mark.accepted;
  const absl::Duration age = now.wall - stats.last_handshake;
  const bool believed = age >= absl::ZeroDuration() && age <= Elapsed(mark, now) &&
                        StepBetween(mark, now) == absl::ZeroDuration();
  return believed ? now - age : now;
}

Resident* Residents::Find(const PublicKey& key) {
  const auto it = peers_.find(key);
  return it == peers_.end() ? nullptr : &it->second;
}

Address SourceOf(const Address& address) {
  return address.family == Family::kIpv6 ? PrefixOf(address, 64).address : address;
}

std::vector<PublicKey> Residents::List(const std::optional<PublicKey>& after, size_t count) const {
  std::vector<PublicKey> keys;
  auto it = after ? peers_.upper_bound(*after) : peers_.begin();
  for (; it != peers_.end() && keys.size() < count; ++it) keys.push_back(it->first);
  return keys;
}

Resident* Residents::Add(const store::Peer& stored, const store::Session& session,
                         const Address& from, absl::Duration steady_now) {
  const PublicKey& key = stored.config.public_key;
  Erase(key);
  Resident& peer = peers_[key];
  peer = Resident{.session = session,
                  .received_base = session.received_bytes,
                  .sent_base = session.sent_bytes,
                  .active = steady_now,
                  .pinned = stored.pinned,
                  .came_from = SourceOf(from),
                  .given = GivenConfig(stored.config),
                  .seen_in_dump = dump_};
  BeginProbation(peer);
  Enter(key, &peer);
  return &peer;
}

void Residents::Erase(const PublicKey& key) {
  const auto it = peers_.find(key);
  if (it == peers_.end()) return;
  Withdraw(key, &it->second);
  EndProbation(it->second);
  peers_.erase(it);
}

void Residents::BeginProbation(const Resident& peer) {
  if (peer.confirmed || peer.pinned) return;
  ++on_probation_;
  ++on_probation_from_[peer.came_from];
}

void Residents::EndProbation(const Resident& peer) {
  if (peer.confirmed || peer.pinned) return;
  --on_probation_;
  const auto it = on_probation_from_.find(peer.came_from);
  if (--it->second == 0) on_probation_from_.erase(it);
}

size_t Residents::on_probation_from(const Address& address) const {
  const auto it = on_probation_from_.find(SourceOf(address));
  return it == on_probation_from_.end() ? 0 : it->second;
}

void Residents::Clear() {
  peers_.clear();
  probation_.clear();
  established_.clear();
  removable_.clear();
  returned_.clear();
  dirty_.clear();
  on_probation_from_.clear();
  on_probation_ = 0;
}

// --- the index --------------------------------------------------------------

void Residents::Enter(const PublicKey& key, Resident* peer) {
  if (peer->pinned || peer->leaving || peer->indexed) return;
  peer->indexed = peer->sign_of_life();
  IndexOf(*peer).emplace(*peer->indexed, key);
}

void Residents::Withdraw(const PublicKey& key, Resident* peer) {
  if (!peer->indexed) return;
  IndexOf(*peer).erase({*peer->indexed, key});
  peer->indexed.reset();
}

void Residents::Touch(const PublicKey& key, absl::Duration steady_now) {
  Resident* peer = Find(key);
  if (peer == nullptr) return;
  peer->last_request = steady_now;
  Stay(key);
}

void Residents::Stay(const PublicKey& key) {
  Resident* peer = Find(key);
  if (peer == nullptr) return;
  peer->leaving = false;
  peer->revoked = false;
  peer->queued = false;
  Enter(key, peer);
}

void Residents::SetPinned(const PublicKey& key, bool pinned) {
  Resident* peer = Find(key);
  if (peer == nullptr || peer->pinned == pinned) return;
  Withdraw(key, peer);
  EndProbation(*peer);
  peer->pinned = pinned;
  BeginProbation(*peer);
  Enter(key, peer);
  if (pinned && peer->leaving && !peer->revoked) Stay(key);
}

void Residents::MarkDirty(const PublicKey& key) {
  Resident* peer = Find(key);
  if (peer == nullptr || peer->dirty) return;
  peer->dirty = true;
  dirty_.push_back(key);
}

// --- leaving ----------------------------------------------------------------

std::vector<PublicKey> Residents::BeginLeaving(absl::Duration steady_now, size_t count,
                                               Press press) {
  std::vector<PublicKey> leaving;
  BeginLeavingFrom(&probation_, press.probation ? kProbationInACrowd : kProbation, steady_now,
                   count, &leaving);
  BeginLeavingFrom(&established_, press.established ? kSessionLifetime : evict_after_, steady_now,
                   count, &leaving);
  return leaving;
}

void Residents::BeginLeavingFrom(Index* index, absl::Duration lifetime, absl::Duration steady_now,
                                 size_t count, std::vector<PublicKey>* leaving) {
  for (size_t step = 0; step < count && !index->empty(); ++step) {
    const auto [indexed, key] = *index->begin();
    if (steady_now - indexed <= lifetime) return;
    Resident* peer = Find(key);
    Withdraw(key, peer);
    if (steady_now - peer->sign_of_life() <= lifetime) {
      Enter(key, peer);  // there was a sign of life since
      continue;
    }
    peer->leaving = true;
    peer->leaving_since = dump_;
    leaving->push_back(key);
  }
}

void Residents::Revoke(const PublicKey& key) {
  Resident* peer = Find(key);
  if (peer == nullptr || peer->revoked) return;
  Withdraw(key, peer);
  peer->leaving = true;
  peer->revoked = true;
  if (!std::exchange(peer->queued, true)) removable_.push_back(key);
}

std::vector<PublicKey> Residents::TakeRemovable(size_t count) {
  std::vector<PublicKey> keys;
  while (keys.size() < count && !removable_.empty()) {
    const PublicKey key = removable_.front();
    removable_.pop_front();
    // An entry may be left over from a peer that stayed, or was erased and added again.
    const Resident* peer = Find(key);
    if (peer != nullptr && peer->queued && std::find(keys.begin(), keys.end(), key) == keys.end()) {
      keys.push_back(key);
    }
  }
  return keys;
}

std::vector<PublicKey> Residents::TakeReturned() { return std::exchange(returned_, {}); }

// --- a dump -----------------------------------------------------------------

bool Residents::Observe(const PublicKey& key, const wgdev::PeerStats& stats,
                        absl::Duration steady_now, const Instant& now) {
  Resident* peer = Find(key);
  if (peer == nullptr) return false;
  peer->seen_in_dump = dump_;
  store::Session& session = peer->session;
  // Counters that go down are those of a peer that was installed again.
  if (peer->received_base + stats.received_bytes < session.received_bytes) {
    peer->received_base = session.received_bytes;
  }
  if (peer->sent_base + stats.sent_bytes < session.sent_bytes) peer->sent_base = session.sent_bytes;
  const uint64_t received = peer->received_base + stats.received_bytes;
  const uint64_t sent = peer->sent_base + stats.sent_bytes;
  const bool handshake =
      stats.last_handshake != absl::UnixEpoch() && stats.last_handshake != session.last_handshake;
  const bool moved =
      stats.endpoint.address.family != Family::kNone && stats.endpoint != session.endpoint;
  const bool counted = received != session.received_bytes || sent != session.sent_bytes;
  session.received_bytes = received;
  session.sent_bytes = sent;
  if (moved) session.endpoint = stats.endpoint;
  if (handshake) {
    session.last_handshake = stats.last_handshake;
    ++session.handshakes;
    // The first handshake soon after an initiation was accepted is that initiation's. No other can
    // have come past us: until a dump has shown it, the peer's flow is not known.
    const Instant at = HandshakeOf(*peer, stats, now);
    const bool another = std::exchange(peer->handshake_seen, true) ||
                         Elapsed(session.mark.accepted, at) >= guard::kHandshakeMax;
    if (another && session.mark.set()) peer->past_us = guard::AdvanceTo(session.mark, at, now);
    peer->active = steady_now;
  }
  if (handshake || moved || (counted && steady_now - peer->saved > kCountsInterval)) {
    peer->saved = steady_now;
    MarkDirty(key);
  }
  if (peer->leaving && handshake) {
    returned_.push_back(key);
    Stay(key);
  } else if (peer->leaving && !peer->queued && dump_ > peer->leaving_since) {
    peer->queued = true;
    removable_.push_back(key);
  }
  if (stats.last_handshake == absl::UnixEpoch() || peer->confirmed) return false;
  Withdraw(key, peer);
  EndProbation(*peer);
  peer->confirmed = true;
  Enter(key, peer);
  return true;
}

std::vector<PublicKey> Residents::EndDump(bool complete) {
  std::vector<PublicKey> missing;
  for (const auto& [key, peer] : peers_) {
    if (!complete) break;
    // Added while the dump ran, or skipped by it: only absence from two dumps in a row is removal.
    if (peer.seen_in_dump + 1 < dump_) missing.push_back(key);
  }
  return missing;
}

std::vector<std::pair<PublicKey, store::Session>> Residents::TakeDirty() {
  std::vector<std::pair<PublicKey, store::Session>> sessions;
  for (const PublicKey& key : std::exchange(dirty_, {})) {
    Resident* peer = Find(key);
    if (peer == nullptr || !peer->dirty) continue;
    sessions.emplace_back(key, peer->session);
    if (peer->past_us.set()) sessions.back().second.mark = peer->past_us;
    peer->dirty = false;
  }
  return sessions;
}

}  // namespace wicket::installer
