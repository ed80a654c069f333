#include "store/quota.h"

#include <algorithm>

#include "store/record.h"

namespace wicket::store {
namespace {

uint64_t TotalOf(const Session& session) { return session.received_bytes + session.sent_bytes; }

}  // namespace

absl::Time Quota::BeginOf(absl::Time wall) const {
  return absl::UnixEpoch() + absl::Floor(wall - absl::UnixEpoch(), period);
}

uint64_t UsedOf(const Quota& quota, const Session& session, absl::Time wall) {
  if (!quota.limits() || quota.BeginOf(wall) > session.period_begun) return 0;
  const uint64_t total = TotalOf(session);
  return total - std::min(total, session.period_base);
}

bool UsedUp(const Quota& quota, const Session& session, absl::Time wall) {
  return quota.limits() && UsedOf(quota, session, wall) >= quota.bytes;
}

bool BeginPeriod(const Quota& quota, absl::Time wall, Session* session) {
  if (!quota.limits() || quota.BeginOf(wall) <= session->period_begun) return false;
  session->period_begun = quota.BeginOf(wall);
  session->period_base = TotalOf(*session);
  return true;
}

}  // namespace wicket::store
