// How many handshakes a second may cost a Diffie-Hellman, and who comes first when not all can.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

#include "base/address.h"

namespace wicket::guard {

// A rate with a burst, as the time when the bucket is full again.
//
// Source: the generic cell rate algorithm [ITU-T I.371]
class Bucket {
 public:
  // `window_ns`: at once may come one, and what is due within this.
  // Returns: false when it is empty, and nothing was taken.
  bool Take(uint64_t now_ns, uint64_t interval_ns, uint64_t window_ns) {
    const uint64_t from = std::max(full_at_ns_, now_ns);
    if (from - now_ns > window_ns) return false;
    full_at_ns_ = from + interval_ns;
    return true;
  }

 private:
  uint64_t full_at_ns_ = 0;
};

// Seven eighths of the rate are for whoever comes first. The last eighth is kept for sources
// (an IPv4 address, an IPv6 /56) that have had little lately, so that one that sends without
// end does not take it all. Sources share places in a table of fixed size, by a keyed hash.
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

  // Takes one handshake out of the budget. Returns: false when it is to be refused.
  // Requires: SetRate().
  bool Take(const Address& source, uint64_t now_ns) {
    if (open_.Take(now_ns, open_interval_ns_, open_window_ns_)) return true;
    Bucket& own = (*sources_)[SlotOf(source)];
    return own.Take(now_ns, kSourceInterval_ns, kSourceInterval_ns) &&
           kept_.Take(now_ns, kept_interval_ns_, kept_window_ns_);
  }

 private:
  static constexpr size_t kSlots = 4096;                             // 32 KiB
  static constexpr uint64_t kSourceInterval_ns = 1'000'000'000 / 2;  // and two at once

  size_t SlotOf(const Address& source) const {
    uint64_t words[2];
    static_assert(sizeof(words) == sizeof(source.bytes));
    std::copy_n(source.bytes.begin(), 16, reinterpret_cast<uint8_t*>(words));
    if (source.family == Family::kIpv6) {  // a customer may have all of a /56
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
