#include "installer/admission.h"

#include <algorithm>

#include "guard/replay.h"

namespace wicket::installer {
namespace {

// An installed peer that initiates through us twice within this time, from the same endpoint, got
// no answer: the XDP program passes the first try of a known flow.
constexpr absl::Duration kUnanswered = absl::Seconds(15);
// The device itself accepts at most one initiation of a peer in this time: [WG 5.1], 50 a second.
constexpr absl::Duration kInitiationInterval = absl::Milliseconds(20);

uint64_t OpenSlots(const Options& options) { return (options.probation_max + 1) / 2; }

// A raw packet arrives on lo, where the kernel does not check the source.
bool IsMartian(const Address& source) {
  static const Prefix martians[] = {*ParsePrefix("0.0.0.0/8"),   *ParsePrefix("127.0.0.0/8"),
                                    *ParsePrefix("224.0.0.0/3"), *ParsePrefix("::/128"),
                                    *ParsePrefix("::1/128"),     *ParsePrefix("::ffff:0:0/96"),
                                    *ParsePrefix("ff00::/8")};
  return std::any_of(std::begin(martians), std::end(martians),
                     [&](const Prefix& prefix) { return Contains(prefix, source); });
}

}  // namespace

void Admission::BeginBatch(const Options& options, const PublicKey& own_key) {
  options_ = options;
  own_key_ = own_key;
  newcomers_ = 0;
  proven_sources_.clear();
}

bool Admission::Crowded(const Options& options, const Residents& residents) {
  return residents.on_probation() >= OpenSlots(options) - OpenSlots(options) / 16;
}

Decision Admission::Judge(const intake::Demand& demand, const Known& known,
                          const Residents& residents, reinject::Mode mode, const Instant& now,
                          absl::Duration steady) {
  Decision decision;
  if (demand.reason == intake::Reason::kForeign) {
    // The device knows the peer, and its own replay protection is intact: we never remove it.
    decision.give_back = known.foreign;
    if (!known.foreign) decision.refused = Count::kGone;
    journal_->Add(known.foreign ? Count::kForeign : Count::kGone);
    return decision;
  }
  const Resident* resident = known.resident;
  if (resident != nullptr) {
    decision.session = resident->session;
  } else if (known.session != nullptr) {
    decision.session = *known.session;
  }
  StampMark& mark = decision.session.mark;
  decision.refused = Refusal(demand, known, decision.session, residents, mode, now, steady);
  if (decision.refused) {
    journal_->Add(*decision.refused);
    return decision;
  }
  // It may be a replay of a handshake past us, or be that of a client that roams right after one.
  if (resident != nullptr && resident->past_us.set()) {
    decision.passed_us = !guard::IsFresh(resident->past_us, demand.stamp, now);
    if (!decision.passed_us) mark = resident->past_us;
  }
  const bool unanswered = resident != nullptr && steady - resident->last_request < kUnanswered &&
                          resident->session.endpoint == demand.source;
  // The device would refuse the stamps of a clock that was set back. A live session is not risked
  // for that; it ends within 180 s.
  decision.reset = resident != nullptr &&
                   (resident->forget_stamp ||
                    (demand.stamp <= mark.exact && steady - resident->active > kSessionLifetime));
  decision.install =
      resident == nullptr || unanswered || mode == reinject::Mode::kInvert || decision.reset;
  if (decision.passed_us) decision.install = decision.reset = false;
  decision.give_back = true;
  if (guard::IsFromTheFuture(demand.stamp, now.wall)) journal_->Add(Count::kFutureStamps);
  if (!decision.passed_us) mark = guard::Accept(mark, demand.stamp, now);
  if (resident != nullptr) {
    journal_->Add(unanswered ? Count::kHealed : Count::kRoamed);
  } else {
    ++newcomers_;
    if (demand.source_proven) proven_sources_.push_back(SourceOf(demand.source.address));
  }
  return decision;
}

std::optional<Count> Admission::Refusal(const intake::Demand& demand, const Known& known,
                                        const store::Session& session, const Residents& residents,
                                        reinject::Mode mode, const Instant& now,
                                        absl::Duration steady) {
  if (!guard::IsFresh(session.mark, demand.stamp, now)) return Count::kReplays;
  if (known.resident != nullptr && steady - known.resident->last_request < kInitiationInterval) {
    return Count::kTooOften;
  }
  if (known.stored == nullptr || known.stored->expires <= now.wall ||
      demand.public_key == own_key_) {
    return Count::kGone;
  }
  if (store::UsedUp(known.stored->quota, session, now.wall)) return Count::kOverQuota;
  if (mode == reinject::Mode::kRaw && IsMartian(demand.source.address)) return Count::kMartian;
  return known.resident != nullptr ? std::nullopt : NoRoom(demand, residents);
}

std::optional<Count> Admission::NoRoom(const intake::Demand& demand, const Residents& residents) {
  if (residents.size() + newcomers_ >= options_.installed_max) {
    pressed_ = true;
    return Count::kFull;
  }
  const uint64_t taken = residents.on_probation() + newcomers_;
  if (taken >= options_.probation_max) return Count::kProbationFull;
  if (taken < OpenSlots(options_)) return std::nullopt;
  if (!demand.source_proven) return Count::kProbationCookie;
  const Address source = SourceOf(demand.source.address);
  const auto in_batch =
      static_cast<size_t>(std::count(proven_sources_.begin(), proven_sources_.end(), source));
  const uint64_t of_source = residents.on_probation_from(demand.source.address) + in_batch;
  if (4 * of_source >= options_.probation_max - taken) return Count::kProbationSource;
  return std::nullopt;
}

}  // namespace wicket::installer
