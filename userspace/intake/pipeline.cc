#include "intake/pipeline.h"

#include <string.h>

#include <algorithm>

#include "base/clock.h"
#include "guard/replay.h"
#include "intake/cookie_reply.h"
#include "xdp/sketch.h"

namespace wicket::intake {

const char* ToString(Verdict verdict) {
  switch (verdict) {
#define WICKET_VERDICT_TEXT(name, text, help) \
  case Verdict::k##name:                      \
    return text;
    WICKET_VERDICTS(WICKET_VERDICT_TEXT)
#undef WICKET_VERDICT_TEXT
  }
  return "?";
}

Pipeline::Pipeline(store::Snapshot snapshot, std::vector<DemandQueue*> queues, int ifindex,
                   VerdictCounters* counters, SightingSink sink, crypto::X25519Backend backend)
    : snapshot_(std::move(snapshot)),
      queues_(std::move(queues)),
      ifindex_(ifindex),
      counters_(counters),
      sink_(sink),
      backend_(backend) {
  snapshot_.Release();
  for (size_t i = 0; i < queues_.size(); ++i) {
    uint64_t hash_key;
    crypto::FillRandom(reinterpret_cast<uint8_t*>(&hash_key), sizeof(hash_key));
    budgets_.emplace_back(hash_key);
  }
  // The portable back end proves one handshake at a time. So does any other when the memory lock
  // limit leaves no room for the keys of a batch.
  if (backend_ != crypto::X25519Backend::kPortable) {
    batch_ = crypto::Locked<noise::ResponderBatch>::Make(backend_);
  }
}

std::span<const Verdict> Pipeline::RunBatch(const DeviceTable& devices,
                                            std::span<const Arrival> arrivals, const Now& now) {
  load_ = {};
  for (size_t i = 0; i < arrivals.size(); ++i) {
    candidates_[i] = {};
    candidates_[i].arrival = &arrivals[i];
    verdicts_[i] = Screen(devices, now, &candidates_[i]);
  }
  for (size_t d = 0; d < devices.devices.size(); ++d) {
    size_t n = 0;
    for (size_t i = 0; i < arrivals.size(); ++i) {
      const bool waits = verdicts_[i] == Verdict::kProven && candidates_[i].sighting.device == d;
      if (waits) waiting_[n++] = i;
    }
    if (n > 1 && batch_) {
      const uint64_t began_ns = SteadyNanos();
      ProveTogether(devices.devices[d], now, n);
      const size_t lanes = (n + kLanes - 1) / kLanes * kLanes;
      load_.proof_ns = (SteadyNanos() - began_ns) / lanes;
    } else {
      for (size_t i : std::span(waiting_).first(n)) {
        const uint64_t began_ns = SteadyNanos();
        verdicts_[i] = ProveAlone(devices.devices[d], now, &candidates_[i]);
        if (!batch_) load_.proof_ns = SteadyNanos() - began_ns;
      }
    }
  }
  const bool told = sink_.queue != nullptr;
  const bool watched =
      told && sink_.watchers != nullptr && sink_.watchers->load(std::memory_order_relaxed) > 0;
  for (size_t i = 0; i < arrivals.size(); ++i) {
    counters_->Count(verdicts_[i]);
    if (verdicts_[i] != Verdict::kProven) NoteRefused(candidates_[i].sighting.source);
    // What a known client's packets come to is told also without a watcher.
    if (!told || (!watched && candidates_[i].sighting.public_key == PublicKey{})) continue;
    if (sink_.queue->Empty()) refused_sightings_ = 0;
    if (verdicts_[i] != Verdict::kProven && ++refused_sightings_ > kRefusedSightingsMax) continue;
    if (Sighting* slot = sink_.queue->Reserve()) {
      *slot = candidates_[i].sighting;
      slot->verdict = verdicts_[i];
      slot->at = now.clock.wall;
      sink_.queue->Submit();
    }
  }
  return std::span(verdicts_).first(arrivals.size());
}

void Pipeline::NoteRefused(const Endpoint& source) {
  if (sink_.sketch == nullptr || source.address.family == Family::kNone) return;
  __u64 words[2];
  memcpy(words, source.address.Mapped().data(), sizeof(words));
  const sketch_place place = sketch_place_of(words);
  std::atomic<uint64_t>& bits = sink_.sketch[place.word];
  if (!(bits.load(std::memory_order_relaxed) & place.bit)) {
    bits.fetch_or(place.bit, std::memory_order_relaxed);
  }
}

Verdict Pipeline::Screen(const DeviceTable& devices, const Now& now, Candidate* candidate) {
  const Arrival& arrival = *candidate->arrival;
  const wire::Frame& frame = arrival.found;
  if (frame.initiation == nullptr) return Verdict::kNotAnInitiation;
  candidate->sighting.source = frame.source;
  size_t index = 0;
  while (index < devices.devices.size() && (devices.devices[index].port != frame.port ||
                                            devices.devices[index].identity == nullptr)) {
    ++index;
  }
  if (index == devices.devices.size()) return Verdict::kPortNotServed;
  candidate->sighting.device = static_cast<uint16_t>(index);
  const DeviceTable::Entry& device = devices.devices[index];
  const noise::Identity& self = **device.identity;
  const wire::Initiation& message = *frame.initiation;
  if (!noise::CheckMac1(self, message)) return Verdict::kBadMac1;
  if (repeats_.SeenBefore(message.mac1)) return Verdict::kRepeat;
  candidate->source_proven = devices.cookies->Accept(frame.source, message);
  bool ask = now.under_load && !candidate->source_proven;
  if (!ask) {
    guard::HandshakeBudget& budget = budgets_[index];
    budget.SetRate(device.handshakes_per_second);
    if (budget.Take(arrival.charged, now.ktime_ns)) return Verdict::kProven;
    load_.beyond_budget = true;
    ask = !candidate->source_proven;
  }
  if (ask && frame.can_be_answered &&
      cookies_.Take(now.ktime_ns, devices.cookie_interval_ns,
                    steer_cookie_window_ns(devices.cookie_interval_ns))) {
    const wire::CookieReply reply = noise::SealCookie(
        self.cookie_key(), devices.cookies->Make(frame.source), message.mac1, message.sender_index);
    candidate->reply_bytes = WriteCookieReply(arrival.frame, frame, reply);
    return Verdict::kCookie;
  }
  return Verdict::kOverBudget;
}

Verdict Pipeline::FindPeer(const DeviceTable::Entry& device, const PublicKey& key,
                           const Now& now) const {
  store::PeerView peer;
  switch (snapshot_.ViewPeer(key, &peer)) {
    case store::Snapshot::Found::kNo:
      return Verdict::kUnknownPeer;
    case store::Snapshot::Found::kDamaged:
      return Verdict::kDamagedRecord;
    case store::Snapshot::Found::kYes:
      break;
  }
  if (peer.device != device.name) return Verdict::kUnknownPeer;
  return peer.expires <= now.clock.wall ? Verdict::kExpired : Verdict::kProven;
}

Verdict Pipeline::Admit(const DeviceTable::Entry& device, const PublicKey& key, const Now& now,
                        Candidate* candidate) const {
  const Verdict found = FindPeer(device, key, now);
  candidate->foreign =
      found != Verdict::kProven && device.foreign != nullptr && device.foreign->contains(key);
  return candidate->foreign ? Verdict::kProven : found;
}

Verdict Pipeline::ProveAlone(const DeviceTable::Entry& device, const Now& now,
                             Candidate* candidate) {
  const noise::Identity& self = **device.identity;
  const wire::Initiation& message = *candidate->arrival->found.initiation;
  std::optional<noise::Claim> claim = noise::OpenStatic(self, message);
  if (!claim) return Verdict::kBadStatic;
  const PublicKey key = claim->static_public;
  const Verdict admitted = Admit(device, key, now, candidate);
  if (admitted != Verdict::kProven) return admitted;
  const std::optional<Tai64n> stamp = noise::OpenTimestamp(self, std::move(*claim), message);
  if (!stamp) return Verdict::kNotProven;
  return Deliver(key, *stamp, now, candidate);
}

void Pipeline::ProveTogether(const DeviceTable::Entry& device, const Now& now, size_t n) {
  const noise::Identity& self = **device.identity;
  std::array<const wire::Initiation*, kBatchMax> messages;
  std::array<bool, kBatchMax> admitted;
  for (size_t k = 0; k < n; ++k) messages[k] = candidates_[waiting_[k]].arrival->found.initiation;
  batch_->OpenStatics(self, std::span(messages).first(n));
  for (size_t k = 0; k < n; ++k) {
    const PublicKey* key = batch_->claim(k);
    Verdict* verdict = &verdicts_[waiting_[k]];
    *verdict =
        key == nullptr ? Verdict::kBadStatic : Admit(device, *key, now, &candidates_[waiting_[k]]);
    admitted[k] = *verdict == Verdict::kProven;
  }
  batch_->OpenTimestamps(self, std::span(admitted).first(n));
  for (size_t k = 0; k < n; ++k) {
    if (!admitted[k]) continue;
    const Tai64n* stamp = batch_->timestamp(k);
    verdicts_[waiting_[k]] =
        stamp == nullptr ? Verdict::kNotProven
                         : Deliver(*batch_->claim(k), *stamp, now, &candidates_[waiting_[k]]);
  }
}

Verdict Pipeline::Deliver(const PublicKey& key, const Tai64n& stamp, const Now& now,
                          Candidate* candidate) {
  candidate->sighting.public_key = key;
  if (const auto session = snapshot_.FindSession(key);
      session && !guard::IsFresh(session->mark, stamp, now.clock)) {
    return Verdict::kReplay;  // the installer checks again: it also knows the last second
  }
  DemandQueue* queue = queues_[candidate->sighting.device];
  Demand* demand = queue->Reserve();
  if (demand == nullptr) return Verdict::kInstallerBusy;
  const std::span<const uint8_t> bytes = candidate->arrival->frame;
  const wire::Frame& frame = candidate->arrival->found;
  demand->public_key = key;
  demand->stamp = stamp;
  demand->source = frame.source;
  demand->seen_ns = now.ktime_ns;
  demand->ifindex = ifindex_;
  demand->ip_offset = frame.ip_offset;
  demand->udp_offset = frame.udp_offset;
  demand->reason = candidate->foreign ? Reason::kForeign : Reason::kProven;
  demand->source_proven = candidate->source_proven;
  demand->frame_bytes = static_cast<uint16_t>(bytes.size());
  std::copy(bytes.begin(), bytes.end(), demand->frame.begin());
  queue->Submit();
  return Verdict::kProven;
}

}  // namespace wicket::intake
