// Lanes of X25519 without vector instructions, for tests.
//
// EmulatedLane stands for a CPU with AVX-512 IFMA, and for one with FMA. It runs the fields and the
// ladder of both back ends on any CPU, and under valgrind, which does not know IFMA.
// IntervalLane computes with the least and the greatest value that a lane may hold, and aborts
// where a value would be truncated: one run over full ranges proves the bounds of every limb for
// all inputs.
#pragma once

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

namespace wicket::crypto {

inline constexpr uint64_t kMask52 = (uint64_t{1} << 52) - 1;

template <int count>
struct EmulatedLane {
  static constexpr int kCount = count;
  static EmulatedLane Broadcast(uint64_t value) {
    return Each([&](int) { return value; });
  }
  static EmulatedLane Load(const uint64_t values[kCount]) {
    return Each([&](int i) { return values[i]; });
  }
  void Store(uint64_t values[kCount]) const { memcpy(values, v, sizeof(v)); }
  static EmulatedLane Select(const EmulatedLane& mask, const EmulatedLane& a,
                             const EmulatedLane& b) {
    return Each([&](int i) { return a.v[i] ^ (mask.v[i] & (a.v[i] ^ b.v[i])); });
  }
  template <int bits>
  EmulatedLane ShiftLeft() const {
    return Each([&](int i) { return v[i] << bits; });
  }
  template <int bits>
  EmulatedLane ShiftRight() const {
    return Each([&](int i) { return v[i] >> bits; });
  }
  EmulatedLane ShiftRightBy(int bits) const {
    return Each([&](int i) { return v[i] >> bits; });
  }

  using Real = EmulatedLane;
  static Real ToReal(const EmulatedLane& a) { return a; }
  static EmulatedLane FromReal(const Real& a) { return a; }
  // Arbitrary, like the bits of a CPU: a sum may wrap around until they are subtracted again.
  static constexpr uint64_t kHighBits = 0xfedcba9876543211, kLowBits = 0xc0ffee0123456789;
  static void MultiplyAdd(const Real& a, const Real& b, EmulatedLane* low, EmulatedLane* high) {
    for (int i = 0; i < kCount; ++i) {
      const auto product = static_cast<unsigned __int128>(a.v[i]) * b.v[i];
      const auto halves_high = static_cast<uint64_t>((product + (1ULL << 50)) >> 51);
      high->v[i] += kHighBits + halves_high;
      low->v[i] += kLowBits + static_cast<uint64_t>(product) - (halves_high << 51);
    }
  }

  friend EmulatedLane operator+(const EmulatedLane& a, const EmulatedLane& b) {
    return Each([&](int i) { return a.v[i] + b.v[i]; });
  }
  friend EmulatedLane operator-(const EmulatedLane& a, const EmulatedLane& b) {
    return Each([&](int i) { return a.v[i] - b.v[i]; });
  }
  friend EmulatedLane operator&(const EmulatedLane& a, const EmulatedLane& b) {
    return Each([&](int i) { return a.v[i] & b.v[i]; });
  }
  friend EmulatedLane operator*(const EmulatedLane& a, const EmulatedLane& b) {
    return Each([&](int i) { return (a.v[i] & 0xffffffff) * (b.v[i] & 0xffffffff); });
  }
  friend EmulatedLane MultiplyAddLow(const EmulatedLane& sum, const EmulatedLane& a,
                                     const EmulatedLane& b) {
    return Each([&](int i) { return sum.v[i] + (uint64_t(Product(a.v[i], b.v[i])) & kMask52); });
  }
  friend EmulatedLane MultiplyAddHigh(const EmulatedLane& sum, const EmulatedLane& a,
                                      const EmulatedLane& b) {
    return Each([&](int i) { return sum.v[i] + uint64_t(Product(a.v[i], b.v[i]) >> 52); });
  }

  uint64_t v[kCount];

 private:
  static unsigned __int128 Product(uint64_t a, uint64_t b) {
    return static_cast<unsigned __int128>(a & kMask52) * (b & kMask52);
  }
  template <typename Value>
  static EmulatedLane Each(const Value& value) {
    EmulatedLane r;
    for (int i = 0; i < kCount; ++i) r.v[i] = value(i);
    return r;
  }
};

struct IntervalLane {
  static constexpr int kCount = 1;
  static IntervalLane Broadcast(uint64_t value) { return {value, value}; }
  static IntervalLane UpTo(uint64_t greatest) { return {0, greatest}; }
  // Any mask selects either, so the result spans both.
  static IntervalLane Select(const IntervalLane&, const IntervalLane& a, const IntervalLane& b) {
    return {a.least < b.least ? a.least : b.least,
            a.greatest > b.greatest ? a.greatest : b.greatest};
  }
  template <int bits>
  IntervalLane ShiftLeft() const {
    Check(greatest <= UINT64_MAX >> bits);
    return {least << bits, greatest << bits};
  }
  template <int bits>
  IntervalLane ShiftRight() const {
    return {least >> bits, greatest >> bits};
  }

  using Real = IntervalLane;
  static Real ToReal(const IntervalLane& a) {
    Check(a.greatest < uint64_t{1} << 52);
    return a;
  }
  static IntervalLane FromReal(const Real& a) { return a; }
  static constexpr uint64_t kHighBits = 0, kLowBits = 0;
  // The high half may be rounded either way, and added to 2^103 it stays below 2^104.
  static void MultiplyAdd(const Real& a, const Real& b, IntervalLane* low, IntervalLane* high) {
    const auto product = static_cast<unsigned __int128>(a.greatest) * b.greatest;
    const uint64_t half = uint64_t{1} << 51;
    Check(product < static_cast<unsigned __int128>(half - 1) << 52);
    *high = *high + UpTo(static_cast<uint64_t>(product >> 51) + 1);
    *low = *low + UpTo(half) - UpTo(half);
  }

  friend IntervalLane operator+(const IntervalLane& a, const IntervalLane& b) {
    IntervalLane r{a.least + b.least, 0};
    Check(!__builtin_add_overflow(a.greatest, b.greatest, &r.greatest));
    return r;
  }
  friend IntervalLane operator-(const IntervalLane& a, const IntervalLane& b) {
    Check(a.least >= b.greatest);
    return {a.least - b.greatest, a.greatest - b.least};
  }
  // `mask` is a constant 2^n - 1.
  friend IntervalLane operator&(const IntervalLane& a, const IntervalLane& mask) {
    Check(mask.least == mask.greatest && (mask.least & (mask.least + 1)) == 0);
    return a.greatest <= mask.greatest ? a : UpTo(mask.greatest);
  }
  friend IntervalLane operator*(const IntervalLane& a, const IntervalLane& b) {
    Check(a.greatest <= UINT32_MAX && b.greatest <= UINT32_MAX);
    return {a.least * b.least, a.greatest * b.greatest};
  }
  friend IntervalLane MultiplyAddLow(const IntervalLane& sum, const IntervalLane& a,
                                     const IntervalLane& b) {
    Check(a.greatest <= kMask52 && b.greatest <= kMask52);
    const auto product = static_cast<unsigned __int128>(a.greatest) * b.greatest;
    return sum + UpTo(product <= kMask52 ? uint64_t(product) : kMask52);
  }
  friend IntervalLane MultiplyAddHigh(const IntervalLane& sum, const IntervalLane& a,
                                      const IntervalLane& b) {
    Check(a.greatest <= kMask52 && b.greatest <= kMask52);
    return sum + UpTo(uint64_t((static_cast<unsigned __int128>(a.greatest) * b.greatest) >> 52));
  }

  uint64_t least, greatest;

 private:
  static void Check(bool holds) {
    if (!holds) abort();
  }
};

}  // namespace wicket::crypto
