#include "installer/census.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "guard/replay.h"

namespace wicket::installer {

void Census::Begin(Residents* residents) {
  foreign_in_dump_.clear();
  revoked_.clear();
  residents->BeginDump();
}

void Census::Clear() {
  revoked_.clear();
  swept_ = false;
}

Census::Finding Census::Observe(const wgdev::PeerStats& stats, const store::Snapshot& snapshot,
                                Residents* residents, absl::Duration steady, const Instant& now) {
  const PublicKey& key = stats.public_key;
  Resident* peer = residents->Find(key);
  if (peer == nullptr) return ObserveUnknown(stats, snapshot, residents, steady, now);
  Finding finding;
  FlowChanges& flows = finding.flows;
  const Endpoint before = peer->session.endpoint;
  const uint64_t handshakes = peer->session.handshakes;
  if (residents->Observe(key, stats, steady, now)) {
    journal_->Add(Count::kConfirmed);
    // By the device's time of it. An adopted peer has no request, and an age beyond the request is
    // a step of the clock.
    const absl::Duration age = now.wall - stats.last_handshake, since = steady - peer->last_request;
    if (since < absl::InfiniteDuration() && age >= absl::ZeroDuration() && age <= since) {
      journal_->RecordConfirmed(since - age);
    }
    journal_->Note(event::Kind::kConfirmed, key, stats.endpoint);
  }
  if (peer->keepalive_held && peer->session.handshakes != handshakes) {
    const auto stored = snapshot.FindPeer(key);
    finding.keepalive = stored.ok() && stored->config.persistent_keepalive_s > 0;
    peer->keepalive_held = false;
  }
  CheckStored(stats, snapshot, before, residents, steady, now.wall, &flows);
  if (peer->leaving) return finding;
  const bool roamed = peer->session.endpoint != before;  // noticed by the device from data packets
  if (roamed) flows.push_back({before, false});
  if (peer->confirmed && !peer->expired_since &&
      (roamed || peer->session.handshakes != handshakes)) {
    flows.push_back({peer->session.endpoint, true});
  }
  return finding;
}

// The store decides: a deleted or moved peer leaves, and an expired one leaves once the clock can
// be trusted.
void Census::CheckStored(const wgdev::PeerStats& stats, const store::Snapshot& snapshot,
                         const Endpoint& before, Residents* residents, absl::Duration steady,
                         absl::Time wall, FlowChanges* flows) {
  Resident* peer = residents->Find(stats.public_key);
  store::PeerView stored;
  const auto found = snapshot.ViewPeer(stats.public_key, &stored);
  if (found == store::Snapshot::Found::kDamaged) return;
  const bool here = found == store::Snapshot::Found::kYes && stored.device == journal_->device();
  if (here && stored.expires > wall) {
    if (store::BeginPeriod(stored.quota, wall, &peer->session)) {
      residents->MarkDirty(stats.public_key);
    }
    if (store::UsedUp(stored.quota, peer->session, wall)) {
      if (!std::exchange(peer->over_quota, true)) {
        journal_->Note(event::Kind::kOverQuota, stats.public_key, stats.endpoint);
        flows->push_back({before, false});
      }
      return residents->Revoke(stats.public_key);
    }
    peer->over_quota = false;
    const bool was_expired = std::exchange(peer->expired_since, std::nullopt).has_value();
    // A leaving peer must come through us, or its next handshake would be missed.
    if (!was_expired || !peer->confirmed || peer->leaving) return;
    return flows->push_back({peer->session.endpoint, true});
  }
  const bool first = !peer->expired_since;
  if (first) peer->expired_since = steady;
  if (first || !here) flows->push_back({before, false});
  if (!here || steady - std::max(*peer->expired_since, stepped_) >= kExpiredFor) {
    residents->Revoke(stats.public_key);
  }
}

// A peer in the device that we did not install: ours if it is stored.
Census::Finding Census::ObserveUnknown(const wgdev::PeerStats& stats,
                                       const store::Snapshot& snapshot, Residents* residents,
                                       absl::Duration steady, const Instant& now) {
  const PublicKey& key = stats.public_key;
  if (snapshot.IsRevoked(journal_->device(), key)) {
    revoked_.push_back(key);
    return {};
  }
  const auto stored = snapshot.FindPeer(key);
  if (!stored.ok() || stored->device != journal_->device()) {
    // Not ours, so it must work as if we were not here: its flow passes, and the shards know its
    // key for the day it sends from elsewhere.
    foreign_in_dump_.insert(key);
    if (foreign_->contains(key)) return {};
    return {.flows = {{stats.endpoint, true}}};
  }
  std::optional<store::Session> session = saver_ ? saver_->FindUnsaved(key) : std::nullopt;
  if (!session) session = snapshot.FindSession(key);
  return Adopt(stats, *stored, session.value_or(store::Session{}), residents, steady, now);
}

Census::Finding Census::Adopt(const wgdev::PeerStats& stats, const store::Peer& stored,
                              const store::Session& session, Residents* residents,
                              absl::Duration steady, const Instant& now) {
  const PublicKey& key = stats.public_key;
  Resident* peer = residents->Add(stored, session, session.endpoint.address, steady);
  // Its counters in the device continue from the saved ones.
  peer->received_base -= std::min(peer->received_base, stats.received_bytes);
  peer->sent_base -= std::min(peer->sent_base, stats.sent_bytes);
  residents->Observe(key, stats, steady, now);
  // Nobody has watched its handshakes since the session was saved.
  if (stats.last_handshake != absl::UnixEpoch() &&
      (stats.last_handshake != session.last_handshake || !session.mark.set())) {
    peer->session.mark = guard::AdvanceTo(session.mark, HandshakeOf(*peer, stats, now), now);
  }
  peer->handshake_seen = true;
  peer->past_us = {};
  residents->MarkDirty(key);
  journal_->Add(Count::kAdopted);
  peer->keepalive_held = !peer->confirmed;
  const bool outdated = stats.digest != wgdev::DigestOf(stored.config, peer->keepalive_held);
  if (outdated) peer->given.reset();
  return {.flows = {{stats.endpoint, true}}, .outdated = outdated};
}

Census::Outcome Census::End(bool complete, Residents* residents, size_t foreign_max) {
  Outcome outcome{.revoked = std::exchange(revoked_, {}), .foreign = {}, .flows = {}};
  if (complete && outcome.revoked.empty()) outcome.swept = !std::exchange(swept_, true);
  for (const PublicKey& key : foreign_in_dump_) {
    if (outcome.foreign.size() == foreign_max) break;
    if (foreign_->contains(key)) outcome.foreign.push_back(key);
  }
  // Absence from an incomplete dump proves nothing.
  if (!complete) foreign_in_dump_.insert(foreign_->begin(), foreign_->end());
  if (foreign_in_dump_ != *foreign_) {
    if (foreign_in_dump_.size() > foreign_->size()) {
      Log(LogLevel::kInfo, About{journal_->device()}, foreign_in_dump_.size(),
          " peers in the device are not stored for it");
    }
    foreign_ = std::make_shared<const intake::ForeignPeers>(foreign_in_dump_);
    foreign_changed_ = true;
  }
  for (const PublicKey& key : residents->EndDump(complete)) {
    journal_->Add(Count::kMissing);
    outcome.flows.push_back({residents->Find(key)->session.endpoint, false});
    residents->Erase(key);
  }
  return outcome;
}

std::unique_ptr<intake::ForeignPeers> Census::TakeForeign() {
  if (!std::exchange(foreign_changed_, false)) return nullptr;
  return std::make_unique<intake::ForeignPeers>(*foreign_);
}

}  // namespace wicket::installer
