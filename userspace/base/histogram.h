// A latency histogram with bounded relative error.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace wicket {

// Counts durations from 0 to 2^40 ns (18 min), or other numbers, in buckets no wider than 1/32 of
// their value, or 1. Greater ones are counted in the last bucket.
//
// Thread: one writer; a reader at any time sees a nearly consistent picture.
// Cost:   Record() is one relaxed increment.
class Histogram {
 public:
  void Record(uint64_t nanoseconds);
  // Adds all samples of `other`.
  void Add(const Histogram& other);
  // The value below which a share `quantile` (0..1) of the samples lies, as the middle of its
  // bucket. Returns: 0 when empty.
  uint64_t Quantile(double quantile) const;
  uint64_t Count() const;
  // Samples of at most `nanoseconds`, to the width of a bucket.
  uint64_t CountUpTo(uint64_t nanoseconds) const;
  // The sum of all samples, each as the middle of its bucket.
  uint64_t Sum() const;
  // Thread: the writer.
  void Clear();

 private:
  static constexpr uint32_t kSubBits = 5;
  static constexpr uint32_t kSub = 1u << kSubBits;
  static constexpr uint32_t kMaxBits = 40;
  static constexpr uint32_t kBuckets = (kMaxBits - kSubBits + 1) * kSub;

  static uint32_t BucketOf(uint64_t nanoseconds);
  static uint64_t MiddleOf(uint32_t bucket);

  std::array<std::atomic<uint64_t>, kBuckets> counts_{};
};

// The samples of the last one to two periods.
//
// Thread: one writer, any readers.
class RecentHistogram {
 public:
  static constexpr uint64_t kPeriod_ns = 10'000'000'000;

  void Record(uint64_t nanoseconds, uint64_t now_ns);
  void AddTo(uint64_t now_ns, Histogram* sum) const;

 private:
  struct Half {
    std::atomic<uint64_t> period{0};  // the period of `samples`
    Histogram samples;
  };
  Half halves_[2];
};

}  // namespace wicket
