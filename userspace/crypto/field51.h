// The field of p = 2^255 - 19 in five 51-bit limbs, one element a lane, for CPUs that multiply
// 52 bits by 52 bits (AVX-512 IFMA).
//
// The multiplier takes the low 52 bits of its operands and returns the low or the high 52 bits of
// the product. A limb that has grown to 2^52 is truncated silently, so an element has one of two
// types:
//
//   Narrow   limbs < 2^52: the only type that is multiplied
//   Wide     limbs < 2^62: sums of products; Carry() makes a Narrow of one
//
// Sums and differences are of Wide elements, before the carry. So every operand of a
// multiplication, but a loaded point, has been carried once, and no element twice: one carry covers
// the product and the sum.
//
// With 51-bit limbs the high half of a product, of weight 2^52, has twice the weight of the next
// limb: hi counts double. Columns 5 to 9 weigh 2^255 = 19 (mod p) times columns 0 to 4.
//
// `Lane` supplies + - & and Shift{Left,Right}, MultiplyAdd{Low,High}, Broadcast and Select on
// 64-bit lanes. A lane of intervals proves the bounds stated here for all inputs: field_test.cc.
//
// Source: radix 2^51, lazy reduction: Bernstein, Duif, Lange, Schwabe, Yang,
//         "High-speed high-security signatures" (2011); products by IFMA:
//         Gueron, Krasnov, "Accelerating big integer arithmetic using Intel
//         IFMA extensions" (2016). [Intel SDM VPMADD52LUQ]
#pragma once

#include "crypto/wide51.h"

namespace wicket::crypto {

template <typename Lane>
class Field51 : public Wide51<Lane> {
 public:
  struct Narrow {
    Lane limb[5];
  };
  using typename Wide51<Lane>::Wide;

  // Loads limbs < 2^51, lane by lane.
  static Narrow Load(const uint64_t limbs[5][Lane::kCount]) {
    return {{Lane::Load(limbs[0]), Lane::Load(limbs[1]), Lane::Load(limbs[2]), Lane::Load(limbs[3]),
             Lane::Load(limbs[4])}};
  }
  static void Store(const Narrow& a, uint64_t limbs[5][Lane::kCount]) {
    for (int i = 0; i < 5; ++i) a.limb[i].Store(limbs[i]);
  }
  // Requires: value < 2^51.
  [[gnu::always_inline]] static Narrow Small(uint64_t value) {
    const Lane zero = Lane::Broadcast(0);
    return {{Lane::Broadcast(value), zero, zero, zero, zero}};
  }
  [[gnu::always_inline]] static Wide Widen(const Narrow& a) {
    return {{a.limb[0], a.limb[1], a.limb[2], a.limb[3], a.limb[4]}};
  }

  // b where the mask's lane is all ones, a where it is zero.
  [[gnu::always_inline]] static Narrow Select(const Lane& mask, const Narrow& a, const Narrow& b) {
    return {{Lane::Select(mask, a.limb[0], b.limb[0]), Lane::Select(mask, a.limb[1], b.limb[1]),
             Lane::Select(mask, a.limb[2], b.limb[2]), Lane::Select(mask, a.limb[3], b.limb[3]),
             Lane::Select(mask, a.limb[4], b.limb[4])}};
  }

  // Carries all limbs in parallel: each keeps 51 bits and passes on the rest, which is below 2^11
  // for a limb < 2^62. So limb 0 becomes < 2^51 + 19 * 2^11 and the others < 2^51 + 2^11.
  [[gnu::always_inline]] static Narrow Carry(const Wide& a) {
    const Lane mask = Lane::Broadcast(kMask51);
    const Lane around = a.limb[4].template ShiftRight<51>();
    return {{MultiplyAddLow(a.limb[0] & mask, around, Lane::Broadcast(19)),
             (a.limb[1] & mask) + a.limb[0].template ShiftRight<51>(),
             (a.limb[2] & mask) + a.limb[1].template ShiftRight<51>(),
             (a.limb[3] & mask) + a.limb[2].template ShiftRight<51>(),
             (a.limb[4] & mask) + a.limb[3].template ShiftRight<51>()}};
  }

  // a + 121665 b. A product's high half is < 2^17.
  // Source: (486662 - 2) / 4, [RFC 7748 4.1].
  [[gnu::always_inline]] static Wide Add121665(const Wide& a, const Narrow& b) {
    const Lane factor = Lane::Broadcast(121665), zero = Lane::Broadcast(0);
    const Lane hi0 = MultiplyAddHigh(zero, b.limb[0], factor);
    const Lane hi1 = MultiplyAddHigh(zero, b.limb[1], factor);
    const Lane hi2 = MultiplyAddHigh(zero, b.limb[2], factor);
    const Lane hi3 = MultiplyAddHigh(zero, b.limb[3], factor);
    const Lane hi4 = MultiplyAddHigh(zero, b.limb[4], factor);
    const Lane lo0 = MultiplyAddLow(a.limb[0], b.limb[0], factor);
    const Lane lo1 = MultiplyAddLow(a.limb[1], b.limb[1], factor);
    const Lane lo2 = MultiplyAddLow(a.limb[2], b.limb[2], factor);
    const Lane lo3 = MultiplyAddLow(a.limb[3], b.limb[3], factor);
    const Lane lo4 = MultiplyAddLow(a.limb[4], b.limb[4], factor);
    return {{MultiplyAddLow(lo0, hi4, Lane::Broadcast(2 * 19)), lo1 + Double(hi0),
             lo2 + Double(hi1), lo3 + Double(hi2), lo4 + Double(hi3)}};
  }

  // 25 low and 25 high halves of products.
  //
  // Column k: lo = sum of low(a_i b_j), i + j = k; hi = sum of high(a_i b_j),
  // i + j = k - 1. Columns 5 to 9 first: v = lo + 2 hi < (4 + 2 * 5) 2^52. Then
  // columns 0 to 4: lo + 2 hi + 19 v = lo + v + 2 (hi + 9 v), so that hi and 9 v are
  // doubled together: < 5 * 2^52 + 2 * 4 * 2^52 + 19 * 14 * 2^52 < 2^60.2.
  [[gnu::always_inline]] static Wide Multiply(const Narrow& x, const Narrow& y) {
    const Lane *a = x.limb, *b = y.limb;
    const Lane zero = Lane::Broadcast(0);
    Lane v0 = MultiplyAddHigh(zero, a[0], b[4]), v1 = MultiplyAddHigh(zero, a[1], b[4]);
    Lane v2 = MultiplyAddHigh(zero, a[2], b[4]), v3 = MultiplyAddHigh(zero, a[3], b[4]);
    Lane v4 = MultiplyAddHigh(zero, a[4], b[4]);
    Lane w0 = MultiplyAddLow(zero, a[1], b[4]), w1 = MultiplyAddLow(zero, a[2], b[4]);
    Lane w2 = MultiplyAddLow(zero, a[3], b[4]), w3 = MultiplyAddLow(zero, a[4], b[4]);
    v0 = MultiplyAddHigh(v0, a[1], b[3]);
    v1 = MultiplyAddHigh(v1, a[2], b[3]);
    v2 = MultiplyAddHigh(v2, a[3], b[3]);
    v3 = MultiplyAddHigh(v3, a[4], b[3]);
    v4 = Double(v4);
    w0 = MultiplyAddLow(w0, a[2], b[3]);
    w1 = MultiplyAddLow(w1, a[3], b[3]);
    w2 = MultiplyAddLow(w2, a[4], b[3]);
    v0 = MultiplyAddHigh(v0, a[2], b[2]);
    v1 = MultiplyAddHigh(v1, a[3], b[2]);
    v2 = MultiplyAddHigh(v2, a[4], b[2]);
    v3 = Double(v3) + w3;
    w0 = MultiplyAddLow(w0, a[3], b[2]);
    w1 = MultiplyAddLow(w1, a[4], b[2]);
    v0 = MultiplyAddHigh(v0, a[3], b[1]);
    v1 = MultiplyAddHigh(v1, a[4], b[1]);
    v2 = Double(v2) + w2;
    w0 = MultiplyAddLow(w0, a[4], b[1]);
    v0 = MultiplyAddHigh(v0, a[4], b[0]);
    v1 = Double(v1) + w1;
    v0 = Double(v0) + w0;

    Lane lo0 = MultiplyAddLow(v0, a[0], b[0]), lo1 = MultiplyAddLow(v1, a[0], b[1]);
    Lane lo2 = MultiplyAddLow(v2, a[0], b[2]), lo3 = MultiplyAddLow(v3, a[0], b[3]);
    Lane lo4 = MultiplyAddLow(v4, a[0], b[4]);
    Lane hi4 = MultiplyAddHigh(Times9(v4), a[0], b[3]);
    Lane hi3 = MultiplyAddHigh(Times9(v3), a[0], b[2]);
    Lane hi2 = MultiplyAddHigh(Times9(v2), a[0], b[1]);
    Lane hi1 = MultiplyAddHigh(Times9(v1), a[0], b[0]);
    const Lane hi0 = Times9(v0);
    lo1 = MultiplyAddLow(lo1, a[1], b[0]);
    lo2 = MultiplyAddLow(lo2, a[1], b[1]);
    lo3 = MultiplyAddLow(lo3, a[1], b[2]);
    lo4 = MultiplyAddLow(lo4, a[1], b[3]);
    hi4 = MultiplyAddHigh(hi4, a[1], b[2]);
    hi3 = MultiplyAddHigh(hi3, a[1], b[1]);
    hi2 = MultiplyAddHigh(hi2, a[1], b[0]);
    lo2 = MultiplyAddLow(lo2, a[2], b[0]);
    lo3 = MultiplyAddLow(lo3, a[2], b[1]);
    lo4 = MultiplyAddLow(lo4, a[2], b[2]);
    hi4 = MultiplyAddHigh(hi4, a[2], b[1]);
    hi3 = MultiplyAddHigh(hi3, a[2], b[0]);
    lo3 = MultiplyAddLow(lo3, a[3], b[0]);
    lo4 = MultiplyAddLow(lo4, a[3], b[1]);
    hi4 = MultiplyAddHigh(hi4, a[3], b[0]);
    lo4 = MultiplyAddLow(lo4, a[4], b[0]);
    return {{Double(hi0) + lo0, Double(hi1) + lo1, Double(hi2) + lo2, Double(hi3) + lo3,
             Double(hi4) + lo4}};
  }

  // 15 low and 15 high halves: products of two different limbs count double. A doubled limb would
  // not fit the multiplier, so the sums are doubled instead.
  //
  // The columns are those of Multiply(x, x), and so are the bounds.
  [[gnu::always_inline]] static Wide Square(const Narrow& x) {
    const Lane* a = x.limb;
    const Lane zero = Lane::Broadcast(0);
    // Columns 5 to 9: 2 (2 cross_hi + cross_lo + square_hi) + square_lo.
    Lane c5 = MultiplyAddHigh(zero, a[0], a[4]), c6 = MultiplyAddHigh(zero, a[1], a[4]);
    const Lane c7 = MultiplyAddHigh(zero, a[2], a[4]), c8 = MultiplyAddHigh(zero, a[3], a[4]);
    const Lane v4 = Double(MultiplyAddHigh(zero, a[4], a[4]));
    Lane m5 = MultiplyAddLow(zero, a[1], a[4]), m7 = MultiplyAddLow(zero, a[3], a[4]);
    const Lane m6 = MultiplyAddLow(zero, a[2], a[4]);
    const Lane s6 = MultiplyAddLow(zero, a[3], a[3]), s8 = MultiplyAddLow(zero, a[4], a[4]);
    c5 = MultiplyAddHigh(c5, a[1], a[3]);
    c6 = MultiplyAddHigh(c6, a[2], a[3]);
    m5 = MultiplyAddLow(m5, a[2], a[3]);
    m7 = MultiplyAddHigh(m7, a[3], a[3]);
    m5 = MultiplyAddHigh(m5, a[2], a[2]);
    const Lane v0 = Double(Double(c5) + m5), v1 = Double(Double(c6) + m6) + s6;
    const Lane v2 = Double(Double(c7) + m7), v3 = Double(Double(c8)) + s8;
    // Columns 0 to 4: 2 (2 cross_hi + cross_lo + square_hi + 9 v) + square_lo + v.
    const Lane s0 = MultiplyAddLow(v0, a[0], a[0]), s2 = MultiplyAddLow(v2, a[1], a[1]);
    const Lane s4 = MultiplyAddLow(v4, a[2], a[2]);
    const Lane c2 = MultiplyAddHigh(zero, a[0], a[1]), c3 = MultiplyAddHigh(zero, a[0], a[2]);
    Lane c4 = MultiplyAddHigh(zero, a[0], a[3]);
    c4 = MultiplyAddHigh(c4, a[1], a[2]);
    Lane m1 = MultiplyAddLow(Times9(v1), a[0], a[1]), m2 = MultiplyAddLow(Times9(v2), a[0], a[2]);
    Lane m3 = MultiplyAddLow(Times9(v3), a[0], a[3]), m4 = MultiplyAddLow(Times9(v4), a[0], a[4]);
    m1 = MultiplyAddHigh(m1, a[0], a[0]);
    m3 = MultiplyAddLow(m3, a[1], a[2]);
    m4 = MultiplyAddLow(m4, a[1], a[3]);
    m3 = MultiplyAddHigh(m3, a[1], a[1]);
    m2 = m2 + Double(c2);
    m3 = m3 + Double(c3);
    m4 = m4 + Double(c4);
    return {{Double(Times9(v0)) + s0, Double(m1) + v1, Double(m2) + s2, Double(m3) + v3,
             Double(m4) + s4}};
  }

 private:
  [[gnu::always_inline]] static Lane Double(const Lane& a) { return a + a; }
  [[gnu::always_inline]] static Lane Times9(const Lane& a) { return a.template ShiftLeft<3>() + a; }
};

}  // namespace wicket::crypto
