#include "base/histogram.h"

#include <algorithm>
#include <bit>

namespace wicket {

uint32_t Histogram::BucketOf(uint64_t ns) {
  if (ns < kSub) return static_cast<uint32_t>(ns);
  const auto top = static_cast<uint32_t>(std::bit_width(ns)) - 1;
  if (top >= kMaxBits) return kBuckets - 1;
  const uint32_t shift = top - kSubBits;
  return (shift + 1) * kSub + static_cast<uint32_t>((ns >> shift) - kSub);
}

uint64_t Histogram::MiddleOf(uint32_t bucket) {
  if (bucket < kSub) return bucket;
  const uint32_t shift = bucket / kSub - 1;
  const uint64_t low = static_cast<uint64_t>(kSub + bucket % kSub) << shift;
  return low + ((uint64_t{1} << shift) >> 1);
}

void Histogram::Record(uint64_t ns) {
  counts_[BucketOf(ns)].fetch_add(1, std::memory_order_relaxed);
}

void Histogram::Add(const Histogram& other) {
  for (uint32_t i = 0; i < kBuckets; ++i) {
    counts_[i].fetch_add(other.counts_[i].load(std::memory_order_relaxed),
                         std::memory_order_relaxed);
  }
}

void Histogram::Clear() {
  for (auto& count : counts_) count.store(0, std::memory_order_relaxed);
}

uint64_t Histogram::Count() const {
  uint64_t total = 0;
  for (const auto& count : counts_) total += count.load(std::memory_order_relaxed);
  return total;
}

uint64_t Histogram::CountUpTo(uint64_t ns) const {
  uint64_t count = 0;
  for (uint32_t bucket = 0; bucket <= BucketOf(ns); ++bucket) {
    count += counts_[bucket].load(std::memory_order_relaxed);
  }
  return count;
}

uint64_t Histogram::Sum() const {
  uint64_t sum = 0;
  for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    sum += counts_[bucket].load(std::memory_order_relaxed) * MiddleOf(bucket);
  }
  return sum;
}

uint64_t Histogram::Quantile(double quantile) const {
  const uint64_t total = Count();
  if (total == 0) return 0;
  const auto rank =
      std::min<uint64_t>(total - 1, static_cast<uint64_t>(quantile * static_cast<double>(total)));
  uint64_t below = 0;
  for (uint32_t bucket = 0; bucket < kBuckets; ++bucket) {
    below += counts_[bucket].load(std::memory_order_relaxed);
    if (below > rank) return MiddleOf(bucket);
  }
  return MiddleOf(kBuckets - 1);
}

void RecentHistogram::Record(uint64_t ns, uint64_t now_ns) {
  const uint64_t period = now_ns / kPeriod_ns;
  Half& half = halves_[period % 2];
  if (half.period.load(std::memory_order_relaxed) != period) {
    half.samples.Clear();
    half.period.store(period, std::memory_order_release);
  }
  half.samples.Record(ns);
}

void RecentHistogram::AddTo(uint64_t now_ns, Histogram* sum) const {
  const uint64_t period = now_ns / kPeriod_ns;
  for (const Half& half : halves_) {
    if (half.period.load(std::memory_order_acquire) + 1 >= period) sum->Add(half.samples);
  }
}

}  // namespace wicket
