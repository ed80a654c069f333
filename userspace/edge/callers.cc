#include "edge/callers.h"

#include <algorithm>

namespace wicket::edge {

Address Callers::CallerOf(const Address& address) {
  return address.family == Family::kIpv6 ? PrefixOf(address, 64).address : address;
}

std::shared_ptr<void> Callers::Enter(const Address& address) {
  const Address caller = CallerOf(address);
  const std::lock_guard lock(mutex_);
  uint64_t& count = connections_[caller];
  if (count >= connections_max_) return nullptr;
  ++count;
  return {this, [caller](void* self) { static_cast<Callers*>(self)->Leave(caller); }};
}

void Callers::Leave(const Address& caller) {
  const std::lock_guard lock(mutex_);
  const auto it = connections_.find(caller);
  if (--it->second == 0) connections_.erase(it);
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

void Callers::NoteFailure(const Address& address, absl::Duration steady) {
  const Address caller = CallerOf(address);
  const std::lock_guard lock(mutex_);
  ++failures_;
  if (Find(caller, steady) == nullptr) {
    if (failed_.size() >= kCallersMax) failed_.erase(failed_.begin());
    failed_[caller] = {static_cast<double>(failures_per_minute_), steady};
  }
  Bucket& bucket = failed_[caller];
  bucket.left = std::max(0.0, bucket.left - 1);
}

uint64_t Callers::failures() const {
  const std::lock_guard lock(mutex_);
  return failures_;
}

}  // namespace wicket::edge
