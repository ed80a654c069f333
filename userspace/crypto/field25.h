// The field of p = 2^255 - 19 in ten limbs of 26 and 25 bits in turn, one
// element a lane, for CPUs that multiply 32 bits by 32 (AVX2).
//
// Limb i weighs 2^ceil(25.5 i). The multiplier takes the low 32 bits of its
// operands, and as in field51.h the types keep that in mind:
//
//   Narrow   even limbs < 2^26 + 2^18, odd limbs < 2^25 + 2^18: multiplied
//   Wide     limbs < 2^62: sums of products, of which Carry() makes a Narrow
//
// The product of two odd limbs weighs twice its column, and columns 10 to 18
// weigh 2^255 = 19 (mod p) times columns 0 to 8. Both factors go to an operand
// beforehand, where they fit: 19 * (2^26 + 2^18) < 2^31, 38 * (2^25 + 2^18) < 2^31.
//
// Source: Bernstein, "Curve25519: new Diffie-Hellman speed records" (2006).
//         A lane of intervals proves the bounds: field_test.cc.
#pragma once

#include "crypto/limbs51.h"

namespace wicket::crypto {

template <typename Lane>
class Field25 {
 public:
  struct Narrow {
    Lane limb[10];
  };
  struct Wide {
    Lane limb[10];
  };

  // From limbs of 51 bits: two limbs make one of those.
  static Narrow Load(const uint64_t limbs[5][Lane::kCount]) {
    Narrow a;
    for (int i = 0; i < 5; ++i) {
      const Lane both = Lane::Load(limbs[i]);
      a.limb[2 * i] = both & Lane::Broadcast(kMask26);
      a.limb[2 * i + 1] = both.template ShiftRight<26>();
    }
    return a;
  }
  // Gives limbs < 2^26 + 2^18 + 2^26 (2^25 + 2^18) < 2^52.
  static void Store(const Narrow& a, uint64_t limbs[5][Lane::kCount]) {
    for (int i = 0; i < 5; ++i) {
      (a.limb[2 * i] + a.limb[2 * i + 1].template ShiftLeft<26>()).Store(limbs[i]);
    }
  }
  // Requires: value < 2^26.
  [[gnu::always_inline]] static Narrow Small(uint64_t value) {
    Narrow a;
    for (Lane& limb : a.limb) limb = Lane::Broadcast(0);
    a.limb[0] = Lane::Broadcast(value);
    return a;
  }
  [[gnu::always_inline]] static Wide Widen(const Narrow& a) {
    Wide r;
    for (int i = 0; i < 10; ++i) r.limb[i] = a.limb[i];
    return r;
  }

  // b where the mask's lane is all ones, a where it is zero.
  [[gnu::always_inline]] static Narrow Select(const Lane& mask, const Narrow& a, const Narrow& b) {
    Narrow r;
    for (int i = 0; i < 10; ++i) r.limb[i] = Lane::Select(mask, a.limb[i], b.limb[i]);
    return r;
  }

  // Of two products, < 2^59.2 each.
  [[gnu::always_inline]] static Wide Add(const Wide& a, const Wide& b) {
    Wide r;
    for (int i = 0; i < 10; ++i) r.limb[i] = a.limb[i] + b.limb[i];
    return r;
  }

  // Of two products. 2^35 p, limb by limb 2^61 or 2^60 less a little, keeps
  // every limb from falling below zero: odd columns of a product are < 2^59.
  [[gnu::always_inline]] static Wide Subtract(const Wide& a, const Wide& b) {
    const Lane low = Lane::Broadcast((kMask26 - 18) << 35);
    const Lane even = Lane::Broadcast(kMask26 << 35), odd = Lane::Broadcast(kMask25 << 35);
    Wide r;
    r.limb[0] = a.limb[0] + low - b.limb[0];
    for (int i = 1; i < 10; i += 2) r.limb[i] = a.limb[i] + odd - b.limb[i];
    for (int i = 2; i < 10; i += 2) r.limb[i] = a.limb[i] + even - b.limb[i];
    return r;
  }

  // Two chains of carries, from limbs 0 and 4, that hide each other's latency.
  // What limb 9 passes around to limb 0 is < 2^37, and limb 0 then passes less
  // than 2^(37 + 4.3 - 26) < 2^16 on to limb 1; limb 4 has been carried twice
  // and leaves limb 5 below 2^25 + 2^12. No other limb ends above its bits.
  [[gnu::always_inline]] static Narrow Carry(const Wide& a) {
    Lane r[10];
    for (int i = 0; i < 10; ++i) r[i] = a.limb[i];
    CarryEven(&r[0], &r[1]);
    CarryEven(&r[4], &r[5]);
    CarryOdd(&r[1], &r[2]);
    CarryOdd(&r[5], &r[6]);
    CarryEven(&r[2], &r[3]);
    CarryEven(&r[6], &r[7]);
    CarryOdd(&r[3], &r[4]);
    CarryOdd(&r[7], &r[8]);
    CarryEven(&r[4], &r[5]);
    CarryEven(&r[8], &r[9]);
    const Lane around = r[9].template ShiftRight<25>();
    r[9] = r[9] & Lane::Broadcast(kMask25);
    r[0] = r[0] + around + Double(around) + around.template ShiftLeft<4>();  // 19 times
    CarryEven(&r[0], &r[1]);
    Narrow n;
    for (int i = 0; i < 10; ++i) n.limb[i] = r[i];
    return n;
  }

  // a + 121665 b, the product < 2^44. Source: (486662 - 2) / 4, [RFC 7748 4.1].
  [[gnu::always_inline]] static Wide Add121665(const Wide& a, const Narrow& b) {
    const Lane factor = Lane::Broadcast(121665);
    Wide r;
    for (int i = 0; i < 10; ++i) r.limb[i] = a.limb[i] + b.limb[i] * factor;
    return r;
  }

  // 100 products and 9 by 19.
  //
  // Column 0 is the greatest: a0 b0 + 19 (2 a1 b9 + a2 b8 + ...), five products
  // of odd limbs and four of even ones: 19 (5 * 2 * 2^50 + 4 * 2^52) + 2^52,
  // with what limbs exceed their bits by < 2^59.2.
  //
  // Row by row, so that ten sums fill the sixteen registers with what they need
  // and nothing is spilled. Left to themselves compilers go column by column.
  [[gnu::noinline]] static Wide Multiply(const Narrow& x, const Narrow& y) {
    const Lane nineteen = Lane::Broadcast(19);
    Lane y19[10];
#pragma GCC unroll 10
    for (int j = 1; j < 10; ++j) y19[j] = y.limb[j] * nineteen;
    Wide r;
#pragma GCC unroll 10
    for (int j = 0; j < 10; ++j) r.limb[j] = x.limb[0] * y.limb[j];
#pragma GCC unroll 10
    for (int i = 1; i < 10; ++i) {
      const Lane a = x.limb[i], twice = Double(a);
#pragma GCC unroll 10
      for (int j = 0; j < 10; ++j) {
        Lane* column = &r.limb[(i + j) % 10];
        const Lane& factor = i % 2 == 1 && j % 2 == 1 ? twice : a;
        *column = *column + factor * (i + j < 10 ? y.limb[j] : y19[j]);
      }
      Lane::KeepInRegisters(r.limb);
    }
    return r;
  }

  // 55 products and 5 by 19 or 38; the columns are those of Multiply(x, x).
  [[gnu::noinline]] static Wide Square(const Narrow& x) {
    const Lane* a = x.limb;
    const Lane nineteen = Lane::Broadcast(19), twice19 = Lane::Broadcast(38);
    const Lane a0_2 = Double(a[0]), a1_2 = Double(a[1]), a2_2 = Double(a[2]), a3_2 = Double(a[3]);
    const Lane a4_2 = Double(a[4]), a5_2 = Double(a[5]), a6_2 = Double(a[6]), a7_2 = Double(a[7]);
    const Lane a5_38 = a[5] * twice19, a6_19 = a[6] * nineteen, a7_38 = a[7] * twice19;
    const Lane a8_19 = a[8] * nineteen, a9_38 = a[9] * twice19;
    return {{
        a[0] * a[0] + a1_2 * a9_38 + a2_2 * a8_19 + a3_2 * a7_38 + a4_2 * a6_19 + a[5] * a5_38,
        a0_2 * a[1] + a[2] * a9_38 + a3_2 * a8_19 + a[4] * a7_38 + a5_2 * a6_19,
        a0_2 * a[2] + a1_2 * a[1] + a3_2 * a9_38 + a4_2 * a8_19 + a5_2 * a7_38 + a[6] * a6_19,
        a0_2 * a[3] + a1_2 * a[2] + a[4] * a9_38 + a5_2 * a8_19 + a[6] * a7_38,
        a0_2 * a[4] + a1_2 * a3_2 + a[2] * a[2] + a5_2 * a9_38 + a6_2 * a8_19 + a[7] * a7_38,
        a0_2 * a[5] + a1_2 * a[4] + a2_2 * a[3] + a[6] * a9_38 + a7_2 * a8_19,
        a0_2 * a[6] + a1_2 * a5_2 + a2_2 * a[4] + a3_2 * a[3] + a7_2 * a9_38 + a[8] * a8_19,
        a0_2 * a[7] + a1_2 * a[6] + a2_2 * a[5] + a3_2 * a[4] + a[8] * a9_38,
        a0_2 * a[8] + a1_2 * a7_2 + a2_2 * a[6] + a3_2 * a5_2 + a[4] * a[4] + a[9] * a9_38,
        a0_2 * a[9] + a1_2 * a[8] + a2_2 * a[7] + a3_2 * a[6] + a4_2 * a[5],
    }};
  }

 private:
  static constexpr uint64_t kMask26 = (uint64_t{1} << 26) - 1;
  static constexpr uint64_t kMask25 = (uint64_t{1} << 25) - 1;

  [[gnu::always_inline]] static Lane Double(const Lane& a) { return a + a; }
  [[gnu::always_inline]] static void CarryEven(Lane* from, Lane* to) {
    *to = *to + from->template ShiftRight<26>();
    *from = *from & Lane::Broadcast(kMask26);
  }
  [[gnu::always_inline]] static void CarryOdd(Lane* from, Lane* to) {
    *to = *to + from->template ShiftRight<25>();
    *from = *from & Lane::Broadcast(kMask25);
  }
};

}  // namespace wicket::crypto
