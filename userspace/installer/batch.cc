#include "installer/batch.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/log.h"
#include "guard/replay.h"

namespace wicket::installer {
namespace {

// A client without an answer starts another handshake after 5 s and forgets the first. If the
// oldest demands of an overlong queue were served, none would be served in time.
constexpr uint64_t kPatience_ns = 2'500'000'000;
constexpr uint64_t kTellInterval_ns = 1'000'000'000;  // of peers that are not installed

// As far as admission asks for it.
bool SameSource(const intake::Demand& a, const intake::Demand& b) {
  return a.source.address == b.source.address && a.source_proven == b.source_proven &&
         a.ifindex == b.ifindex && a.reason == b.reason;
}

}  // namespace

void Batch::DropLate() {
  const uint64_t now_ns = SteadyNanos();
  queues_.DropLate([&](const intake::Demand& demand) {
    const bool late = demand.seen_ns + kPatience_ns < now_ns;
    if (late) state_->journal.Add(Count::kRequests);
    if (late) state_->journal.Add(Count::kTooLate);
    if (late) TellRefused(demand, Count::kTooLate);
    return late;
  });
}

size_t Batch::Gather() {
  pending_.clear();
  if (state_->hand.device() == nullptr) {
    while (intake::DemandQueue* queue = queues_.Next()) queue->Release();
    return 0;
  }
  const size_t most = returner_.Room(std::min(queues_.Waiting(), kMax));
  if (most == 0) return 0;
  const Instant now = InstantNow();
  const absl::Duration steady = SteadyNow();
  admission_.BeginBatch(state_->options, state_->hand.own_key());
  bool renewed = false;
  while (pending_.size() < most) {
    intake::DemandQueue* queue = queues_.Next();
    if (queue == nullptr) break;
    const intake::Demand* demand = queue->Peek();
    state_->journal.Add(Count::kRequests);
    if (!renewed) {
      snapshot_generation_ = state_->surroundings.saver->generation();
      renewed = state_->snapshot->Renew().ok();
    }
    const auto same = std::find_if(pending_.begin(), pending_.end(), [&](const Pending& pending) {
      return pending.demand.public_key == demand->public_key;
    });
    if (same == pending_.end() || same->decision.refused) {
      Pending& pending = same == pending_.end() ? pending_.emplace_back() : *same;
      pending.demand = *demand;
      Judge(&pending, now, steady);
    } else if (StampMark& mark = same->decision.session.mark;
               !guard::IsFresh(mark, demand->stamp, now)) {
      state_->journal.Add(Count::kReplays);
      TellRefused(*demand, Count::kReplays);
    } else if (!SameSource(same->demand, *demand)) {
      Pending newer{.demand = *demand, .decision = {}, .stored = {}};
      Judge(&newer, now, steady);
      if (!newer.decision.refused) *same = std::move(newer);
    } else {
      same->demand = *demand;
      mark = guard::Accept(mark, demand->stamp, now);
    }
    queue->Release();
  }
  state_->snapshot->Release();
  return pending_.size();
}

// Reads the record here, after the proof and from the latest commit, so a peer that was deleted in
// the meantime stays out.
void Batch::Judge(Pending* pending, const Instant& now, absl::Duration steady) {
  const PublicKey& key = pending->demand.public_key;
  Known known{.resident = state_->residents.Find(key), .foreign = census_->foreign().contains(key)};
  auto stored = state_->snapshot->FindPeer(key);
  if (stored.ok() && stored->device == state_->options.name) {
    pending->stored = std::move(*stored);
    known.stored = &*pending->stored;
  }
  std::optional<store::Session> session;
  if (known.resident == nullptr) {
    const SessionSaver& saver = *state_->surroundings.saver;
    session = saver.FindUnsaved(key);
    // It may have become durable since the snapshot was renewed.
    if (!session && saver.generation() != snapshot_generation_) {
      snapshot_generation_ = saver.generation();
      state_->snapshot->Renew().IgnoreError();
    }
    if (!session) session = state_->snapshot->FindSession(key);
    if (session) known.session = &*session;
  }
  pending->decision = admission_.Judge(pending->demand, known, state_->residents,
                                       returner_.ModeOf(pending->demand.ifindex), now, steady);
  pending->ready = pending->decision.give_back && !pending->decision.install;
  if (pending->decision.refused) TellRefused(pending->demand, *pending->decision.refused);
}

// The counter is admission's.
void Batch::TellRefused(const intake::Demand& demand, Count why) {
  state_->journal.NoteRefused(demand.public_key, demand.source, why);
}

bool Batch::Run() {
  if (!Install()) return false;
  const absl::Duration steady = SteadyNow();
  for (Pending& pending : pending_) {
    if (!pending.ready) continue;
    if (pending.decision.passed_us) {
      state_->residents.Touch(pending.demand.public_key, steady);
    } else if (pending.demand.reason != intake::Reason::kForeign) {
      NoteInstalled(pending, steady);
    }
    GiveBack(&pending);
  }
  returner_.Charge();
  return true;
}

bool Batch::Install() {
  std::vector<wgdev::PeerInstall> installs;
  std::vector<Pending*> owners;
  std::vector<PublicKey> resets, failed;
  for (Pending& pending : pending_) {
    if (!pending.decision.install) continue;
    const PublicKey& key = pending.demand.public_key;
    const bool initiate = returner_.ModeOf(pending.demand.ifindex) == reinject::Mode::kInvert;
    installs.push_back({.config = &pending.stored->config,
                        .endpoint = initiate ? pending.demand.source : Endpoint{},
                        .initiate = initiate,
                        .hold_keepalive = true,
                        .replace_allowed_ips = state_->residents.Find(key) == nullptr});
    owners.push_back(&pending);
    if (pending.decision.reset) resets.push_back(key);
  }
  if (!resets.empty()) state_->hand.Remove(resets);
  const std::vector<absl::Status> results = state_->hand.Install(installs);
  for (size_t i = 0; i < results.size(); ++i) {
    Pending* pending = owners[i];
    const PublicKey& key = pending->demand.public_key;
    if (results[i].ok()) {
      pending->ready = true;
      ++pending->decision.session.installs;
      state_->journal.Add(Count::kInstalls);
      state_->journal.Note(event::Kind::kInstalled, key, pending->demand.source);
      continue;
    }
    state_->journal.Add(Count::kInstallErrors);
    if (absl::IsNotFound(results[i])) return false;
    if (const uint64_t now_ns = SteadyNanos(); now_ns - told_ns_ >= kTellInterval_ns) {
      told_ns_ = now_ns;
      Log(LogLevel::kWarning, About{state_->options.name, &key},
          " was not installed: ", results[i].message());
    }
    if (!absl::IsUnavailable(results[i])) failed.push_back(key);
  }
  // A half-installed peer would answer handshakes and drop data.
  if (!failed.empty()) {
    state_->hand.Remove(failed);
    state_->surroundings.saver->Submit(state_->residents.TakeDirty());
  }
  for (const PublicKey& key : failed) state_->residents.Erase(key);
  return true;
}

void Batch::NoteInstalled(const Pending& pending, absl::Duration steady) {
  const intake::Demand& demand = pending.demand;
  Resident* peer = state_->residents.Find(demand.public_key);
  if (peer == nullptr) {
    // An address that anybody can spoof is not charged for the slot.
    peer = state_->residents.Add(*pending.stored, pending.decision.session,
                                 demand.source_proven ? demand.source.address : Address{}, steady);
  }
  // Installed once more, it keeps allowed IPs that it should not have any more.
  if (pending.decision.install && peer->given &&
      !(peer->given->all == wgdev::DigestOf(pending.stored->config))) {
    peer->given.reset();
  }
  if (peer->session.endpoint != demand.source) {
    state_->hand.Apply(FlowChange{peer->session.endpoint, false});
  }
  peer->session.mark = pending.decision.session.mark;
  peer->past_us = {};
  peer->handshake_seen = false;
  peer->session.installs = pending.decision.session.installs;
  peer->session.endpoint = demand.source;
  peer->forget_stamp = peer->forget_stamp && !pending.decision.reset;
  peer->keepalive_held |= pending.decision.install;
  if (pending.decision.install) state_->residents.NoteSeen(peer);
  state_->residents.Touch(demand.public_key, steady);
  state_->residents.MarkDirty(demand.public_key);
}

void Batch::GiveBack(Pending* pending) {
  intake::Demand& demand = pending->demand;
  const reinject::Mode mode = returner_.ModeOf(demand.ifindex);
  // Until its session is confirmed, a sender with an unproven address sends its next initiation
  // here again. Otherwise it could have packets from any address answered, or kept out. Where
  // nothing is given back, the device is to answer the sender's retry.
  const bool ours = !pending->decision.passed_us;
  if (ours && (demand.source_proven || !reinject::GivesBack(mode))) {
    state_->hand.Apply(FlowChange{demand.source, true});
  }
  const bool given = returner_.GiveBack(&demand);
  if (!LogEnabled(LogLevel::kDebug)) return;
  Log(LogLevel::kDebug, About{state_->options.name, &demand.public_key}, " proven from ",
      ToString(demand.source), pending->decision.install ? ", installed" : ", known here",
      given ? ", given back (" : " (", reinject::ToString(mode), ") after ",
      absl::StrFormat("%.2f ms", static_cast<double>(SteadyNanos() - demand.seen_ns) / 1e6));
}

}  // namespace wicket::installer
