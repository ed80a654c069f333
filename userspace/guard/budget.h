// The rate limit of handshakes that may cost a Diffie-Hellman, with a share for quiet sources.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

#include "base/address.h"

namespace wicket::guard {

// A token bucket, kept as the time when it is full again.
//
// Source: the generic cell rate algorithm [ITU-T I.371]
class Bucket {
 public:
  // `window_ns`: a burst is one, plus what falls due within this time.
  // Returns: false when the bucket is empty; nothing was taken then.
  bool Take(uint64_t now_ns, uint64_t interval_ns, uint64_t window_ns) {
    const uint64_t from = std::max(full_at_ns_, now_ns);
    if (from - now_ns > window_ns) return false;
    full_at_ns_ = from + interval_ns;
    return true;
  }

 private:
  uint64_t full_at_ns_ = 0;
};

// Seven eighths of the rate are first come, first served. The last eighth is reserved for sources
// (an IPv4 address, an IPv6 /56) that were quiet lately, so that a source that floods cannot take
// all of the rate. Sources share the slots of a fixed table, by a keyed hash.
//
// Thread: one.
class HandshakeBudget {
 public:
  explicit HandshakeBudget(uint64_t hash_key) : hash_key_(hash_key) {}

  // Requires: per_second >= 1.
  void SetRate(uint64_t per_second) {
    if (per_second == per_second_) return;
    per_second_ = per_second;
    open_interval_ns_ = uint64_t{8'000'000'000} / (per_second * 7);
    kept_interval_ns_ = uint64_t{8'000'000'000} / per_second;
    const uint64_t more_at_once = std::max<uint64_t>(per_second / 20, 1) - 1;
    open_window_ns_ = more_at_once * open_interval_ns_;
    kept_window_ns_ = more_at_once * kept_interval_ns_;
  }

  // Takes one handshake out of the budget. Returns: false when it must be refused.
  // Requires: SetRate().
  bool Take(const Address& source, uint64_t now_ns) {
    if (open_.Take(now_ns, open_interval_ns_, open_window_ns_)) return true;
    Bucket& own = (*sources_)[SlotOf(source)];
    return own.Take(now_ns, kSourceInterval_ns, kSourceInterval_ns) &&
           kept_.Take(now_ns, kept_interval_ns_, kept_window_ns_);
  }

 private:
  static constexpr size_t kSlots = 4096;                             // 32 KiB
  static constexpr uint64_t kSourceInterval_ns = 1'000'000'000 / 2;  // with a burst of two

  size_t SlotOf(const Address& source) const {
    uint64_t words[2];
    static_assert(sizeof(words) == sizeof(source.bytes));
    std::copy_n(source.bytes.begin(), 16, reinterpret_cast<uint8_t*>(words));
    if (source.family == Family::kIpv6) {  // one customer may have a whole /56
      std::fill_n(reinterpret_cast<uint8_t*>(words) + 7, 9, uint8_t{0});
    }
    uint64_t hash = (words[0] ^ hash_key_) * 0x9e3779b97f4a7c15;
    hash = (hash ^ hash >> 29 ^ words[1] ^ hash_key_) * 0xbf58476d1ce4e5b9;
    return (hash ^ hash >> 32) % kSlots;
  }

  uint64_t per_second_ = 0;
  uint64_t open_interval_ns_ = 0, open_window_ns_ = 0, kept_interval_ns_ = 0, kept_window_ns_ = 0;
  uint64_t hash_key_;
  Bucket open_, kept_;
  std::unique_ptr<std::array<Bucket, kSlots>> sources_ =
      std::make_unique<std::array<Bucket, kSlots>>();
};

}  // namespace wicket::guard
