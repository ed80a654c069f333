#include "gateway/installed_peers.h"

#include <algorithm>

namespace wicket::gateway {

InstalledPeer* InstalledPeers::Find(const PublicKey& key) {
  const auto it = peers_.find(key);
  return it == peers_.end() ? nullptr : &it->second;
}

const InstalledPeer* InstalledPeers::Find(const PublicKey& key) const {
  const auto it = peers_.find(key);
  return it == peers_.end() ? nullptr : &it->second;
}

std::vector<PublicKey> InstalledPeers::Keys() const {
  std::vector<PublicKey> keys;
  keys.reserve(peers_.size());
  for (const auto& [key, peer] : peers_) keys.push_back(key);
  return keys;
}

InstalledPeer* InstalledPeers::Add(const store::Peer& stored, const store::Session& session,
                                   absl::Duration steady_now) {
  InstalledPeer& peer = peers_[stored.config.public_key];
  peer = InstalledPeer{.session = session,
                       .received_base = session.received_bytes,
                       .sent_base = session.sent_bytes,
                       .active = steady_now,
                       .pinned = stored.pinned,
                       .expires = stored.expires,
                       .seen_in_dump = dump_};
  return &peer;
}

size_t InstalledPeers::unconfirmed() const {
  size_t count = 0;
  for (const auto& [key, peer] : peers_) count += !peer.confirmed;
  return count;
}

bool InstalledPeers::Observe(InstalledPeer* peer, const wgdev::PeerStats& stats,
                             absl::Duration steady_now) {
  peer->seen_in_dump = dump_;
  store::Session& session = peer->session;
  // Readings that go down are those of a device that was told of the peer anew.
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
  if (handshake || moved || received != session.received_bytes || sent != session.sent_bytes) {
    peer->dirty = true;
    session.received_bytes = received;
    session.sent_bytes = sent;
    if (moved) session.endpoint = stats.endpoint;
    if (handshake) {
      session.last_handshake = stats.last_handshake;
      ++session.handshakes;
      peer->active = steady_now;
    }
  }
  if (stats.last_handshake == absl::UnixEpoch() || peer->confirmed) return false;
  peer->confirmed = true;
  return true;
}

bool InstalledPeers::MustGo(const InstalledPeer& peer, absl::Duration steady_now,
                            absl::Time wall_now) const {
  if (peer.expires <= wall_now) return true;
  const absl::Duration lifetime = peer.confirmed ? evict_after_ : kUnconfirmedLifetime;
  return !peer.pinned && steady_now - std::max(peer.active, peer.last_request) > lifetime;
}

InstalledPeers::Changes InstalledPeers::EndDump(absl::Duration steady_now, absl::Time wall_now,
                                                bool complete) {
  Changes changes;
  for (auto& [key, peer] : peers_) {
    if (peer.seen_in_dump != dump_) {
      // Added while the dump ran, or skipped by it; absence from a whole dump is removal.
      if (complete && peer.seen_in_dump + 1 < dump_) changes.missing.push_back(key);
      continue;
    }
    const bool must_go = MustGo(peer, steady_now, wall_now);
    if (must_go && peer.leaving) {
      peer.dirty = true;
      changes.remove.push_back(key);
    } else if (must_go) {
      peer.leaving = true;
      changes.leaving.push_back(key);
    } else if (peer.leaving) {
      peer.leaving = false;
      changes.staying.push_back(key);
    }
  }
  return changes;
}

std::vector<std::pair<PublicKey, store::Session>> InstalledPeers::TakeDirty() {
  std::vector<std::pair<PublicKey, store::Session>> dirty;
  for (auto& [key, peer] : peers_) {
    if (!peer.dirty) continue;
    dirty.emplace_back(key, peer.session);
    peer.dirty = false;
  }
  return dirty;
}

}  // namespace wicket::gateway
