// The field of p = 2^255 - 19 in five 51-bit limbs, one element a lane, for CPUs with a fused
// multiply-add of doubles, which rounds once (FMA).
//
// A double represents every integer up to 2^53, and FMA computes its sum exactly before it rounds.
// So two FMAs give both halves of the product of two limbs, a b = high 2^51 + low:
//
//   h = fma(a, b, 2^103)                    from 2^103 to 2^104 doubles are 2^51
//                                           apart: h = 2^103 + high 2^51
//   l = fma(a, b, (2^103 + 3 2^51) - h)     = 3 2^51 + low, exactly
//
// Doubles of one binade, read as integers, are consecutive: h reads as the bits of 2^103 plus
// `high`, and l as the bits of 3 2^51 plus `low`. Columns sum up these integers. They start at
// minus all those constant bits, kHighBits and kLowBits for each half. In every rounding mode
// `low` is in [-2^51, 2^51].
//
//   Narrow   limbs < 2^51 + 2^16, as doubles: the only type that is multiplied
//   Wide     limbs < 2^62, as integers: sums of products; Carry() makes a Narrow of one
//
// Sums and differences are of Wide elements, as in field51.h. `low` may be negative, so columns
// also start at limbs of 2^8 p in total, and none falls below zero. Columns 5 to 9 weigh
// 2^255 = 19 (mod p) times columns 0 to 4.
//
// `Lane` supplies + - & and shifts on 64-bit lanes, 32-bit products (*), `Real` with conversions
// both ways, and MultiplyAdd() as above. A lane of intervals proves the bounds for all inputs:
// field_test.cc.
//
// Source: products by FMA: Emmart, Zheng, Weems, "Faster modular exponentiation
//         using double precision floating point arithmetic on the GPU" (2018),
//         which rounds towards zero. The binade of 2^103 is chosen for radix
//         2^51: high then has the weight of a limb, and nothing needs doubling.
#pragma once

#include "crypto/wide51.h"

namespace wicket::crypto {

template <typename Lane>
class Field51Fma : public Wide51<Lane> {
  using Real = typename Lane::Real;

 public:
  struct Narrow {
    Real limb[5];
  };
  using typename Wide51<Lane>::Wide;

  // Loads limbs < 2^51, lane by lane.
  static Narrow Load(const uint64_t limbs[5][Lane::kCount]) {
    Narrow a;
    for (int i = 0; i < 5; ++i) a.limb[i] = Lane::ToReal(Lane::Load(limbs[i]));
    return a;
  }
  static void Store(const Narrow& a, uint64_t limbs[5][Lane::kCount]) {
    for (int i = 0; i < 5; ++i) Lane::FromReal(a.limb[i]).Store(limbs[i]);
  }
  // Requires: value < 2^51.
  [[gnu::always_inline]] static Narrow Small(uint64_t value) {
    const Real zero = Lane::ToReal(Lane::Broadcast(0));
    return {{Lane::ToReal(Lane::Broadcast(value)), zero, zero, zero, zero}};
  }
  [[gnu::always_inline]] static Wide Widen(const Narrow& a) {
    return {{Lane::FromReal(a.limb[0]), Lane::FromReal(a.limb[1]), Lane::FromReal(a.limb[2]),
             Lane::FromReal(a.limb[3]), Lane::FromReal(a.limb[4])}};
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
    return {{Lane::ToReal((a.limb[0] & mask) + around * Lane::Broadcast(19)),
             Lane::ToReal((a.limb[1] & mask) + a.limb[0].template ShiftRight<51>()),
             Lane::ToReal((a.limb[2] & mask) + a.limb[1].template ShiftRight<51>()),
             Lane::ToReal((a.limb[3] & mask) + a.limb[2].template ShiftRight<51>()),
             Lane::ToReal((a.limb[4] & mask) + a.limb[3].template ShiftRight<51>())}};
  }

  // a + 121665 b. Requires: a is a product, whose limbs are > 2^51.
  // Source: (486662 - 2) / 4, [RFC 7748 4.1].
  [[gnu::always_inline]] static Wide Add121665(const Wide& a, const Narrow& b) {
    const Real factor = Lane::ToReal(Lane::Broadcast(121665));
    const Lane bits = Lane::Broadcast(Lane::kLowBits + Lane::kHighBits);
    Lane column[6] = {a.limb[0] - Lane::Broadcast(Lane::kLowBits),
                      a.limb[1] - bits,
                      a.limb[2] - bits,
                      a.limb[3] - bits,
                      a.limb[4] - bits,
                      Lane::Broadcast(0) - Lane::Broadcast(Lane::kHighBits)};
#pragma GCC unroll 5
    for (int i = 0; i < 5; ++i) {
      Lane::MultiplyAdd(factor, b.limb[i], &column[i], &column[i + 1]);
    }
    return {{column[0] + column[5] * Lane::Broadcast(19), column[1], column[2], column[3],
             column[4]}};  // column 5 is < 2^18
  }

  // 25 products, row by row: column i is complete after row i, so only six columns are live at a
  // time, and stay in registers.
  //
  // A column has at most five of both halves. Columns 5 to 9 become less than
  // 8 * 2^51 + (4 + 5) (2^51 + 2^18). Columns 0 to 4, with 19 times those and their start of
  // 104 * 2^51, become < 436 * 2^51 < 2^59.8.
  [[gnu::always_inline]] static Wide Multiply(const Narrow& x, const Narrow& y) {
    Lane column[10];
#pragma GCC unroll 10
    for (int k = 0; k < 10; ++k) column[k] = Begin(Bias(k), Pairs(k), Pairs(k - 1));
#pragma GCC unroll 5
    for (int i = 0; i < 5; ++i) {
#pragma GCC unroll 5
      for (int j = 0; j < 5; ++j) {
        Lane::MultiplyAdd(x.limb[i], y.limb[j], &column[i + j], &column[i + j + 1]);
      }
    }
    return Reduce(column);
  }

  // 15 products: those of two different limbs count double. A doubled limb would leave the binade,
  // so the sums are doubled instead.
  //
  // The columns are those of Multiply(x, x), and so are the bounds. Their start is split so that
  // neither part falls below zero.
  [[gnu::always_inline]] static Wide Square(const Narrow& x) {
    Lane cross[10], column[10];
#pragma GCC unroll 10
    for (int k = 0; k < 10; ++k) {
      const int low = k % 2 == 0, high = k % 2 == 1;  // of the squares
      cross[k] = Begin(Bias(k) / 4, (Pairs(k) - low) / 2, (Pairs(k - 1) - high) / 2);
      column[k] = Begin(Bias(k) / 2, low, high);
    }
#pragma GCC unroll 5
    for (int i = 0; i < 5; ++i) {
      Lane::MultiplyAdd(x.limb[i], x.limb[i], &column[2 * i], &column[2 * i + 1]);
#pragma GCC unroll 5
      for (int j = i + 1; j < 5; ++j) {
        Lane::MultiplyAdd(x.limb[i], x.limb[j], &cross[i + j], &cross[i + j + 1]);
      }
    }
#pragma GCC unroll 10
    for (int k = 0; k < 10; ++k) column[k] = column[k] + cross[k] + cross[k];
    return Reduce(column);
  }

 private:
  // The number of pairs (i, j) with i + j = k.
  static constexpr int Pairs(int k) { return k < 0 || k > 8 ? 0 : k < 5 ? k + 1 : 9 - k; }

  // Columns 5 to 9 start at 2^54. 2^8 p minus 19 times that leaves 104 * 2^51 for the start of
  // columns 0 to 4.
  static constexpr uint64_t Bias(int k) {
    constexpr uint64_t kUpper = uint64_t{1} << 54;
    if (k >= 5) return kUpper;
    return ((kMask51 - (k == 0 ? 18 : 0)) << 8) - 19 * kUpper;
  }
  // The start of a column that gets `low` low and `high` high halves.
  [[gnu::always_inline]] static Lane Begin(uint64_t bias, int low, int high) {
    return Lane::Broadcast(bias - static_cast<uint64_t>(low) * Lane::kLowBits -
                           static_cast<uint64_t>(high) * Lane::kHighBits);
  }
  [[gnu::always_inline]] static Wide Reduce(const Lane (&column)[10]) {
    return {{Plus19(column[0], column[5]), Plus19(column[1], column[6]),
             Plus19(column[2], column[7]), Plus19(column[3], column[8]),
             Plus19(column[4], column[9])}};
  }
  // a + 19 b.
  [[gnu::always_inline]] static Lane Plus19(const Lane& a, const Lane& b) {
    return (a + b) + (b.template ShiftLeft<1>() + b.template ShiftLeft<4>());
  }
};

}  // namespace wicket::crypto
