#include "edge/callers.h"

#include <algorithm>

namespace wicket::edge {
namespace {

using Counts = absl::flat_hash_map<Address, uint64_t>;

bool HasRoom(const Counts& counts, const Address& of, uint64_t most) {
  const auto it = counts.find(of);
  return it == counts.end() || it->second < most;
}

void Leave(Counts* counts, const Address& of) {
  const auto it = counts->find(of);
  if (--it->second == 0) counts->erase(it);
}

Address PartOf(const Address& address, uint8_t length) {
  return address.family == Family::kIpv6 ? PrefixOf(address, length).address : address;
}

Address CallerOf(const Address& address) { return PartOf(address, 64); }
Address SiteOf(const Address& address) { return PartOf(address, 48); }

}  // namespace

std::shared_ptr<void> Callers::Enter(const Address& address) {
  const std::lock_guard lock(mutex_);
  if (!HasRoom(connections_, CallerOf(address), connections_max_) ||
      !HasRoom(of_sites_, SiteOf(address), kSiteCallers * connections_max_)) {
    ++refused_connections_;
    return nullptr;
  }
  ++connections_[CallerOf(address)];
  ++of_sites_[SiteOf(address)];
  return {this, [address](void* self) { static_cast<Callers*>(self)->Leave(address); }};
}

void Callers::Leave(const Address& address) {
  const std::lock_guard lock(mutex_);
  edge::Leave(&connections_, CallerOf(address));
  edge::Leave(&of_sites_, SiteOf(address));
}

// Returns: null when the caller has not failed lately.
Callers::Bucket* Callers::Find(const Address& caller, absl::Duration steady) {
  const auto it = failed_.find(caller);
  if (it == failed_.end()) return nullptr;
  Bucket& bucket = it->second;
  const double most = static_cast<double>(failures_per_minute_);
  bucket.left = std::min(most, bucket.left + most * absl::ToDoubleMinutes(steady - bucket.filled));
  bucket.filled = steady;
  if (bucket.left < most) return &bucket;
  failed_.erase(it);
  return nullptr;
}

bool Callers::MayTry(const Address& address, absl::Duration steady) {
  const std::lock_guard lock(mutex_);
  const Bucket* bucket = Find(CallerOf(address), steady);
  return bucket == nullptr || bucket->left >= 1;
}

bool Callers::NoteFailure(const Address& address, absl::Duration steady) {
  ++failures_;
  const Address caller = CallerOf(address);
  const std::lock_guard lock(mutex_);
  if (Find(caller, steady) == nullptr) {
    if (failed_.size() >= kCallersMax) failed_.erase(failed_.begin());
    failed_[caller] = {static_cast<double>(failures_per_minute_), steady};
  }
  Bucket& bucket = failed_[caller];
  bucket.left = std::max(0.0, bucket.left - 1);
  return bucket.left < 1;
}

size_t Callers::remembered() const {
  const std::lock_guard lock(mutex_);
  return failed_.size();
}

}  // namespace wicket::edge
