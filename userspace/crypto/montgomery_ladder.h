// The Montgomery ladder of X25519, one scalar multiplication a lane.
//
// Two points R0 and R1, whose difference is the given point, walk down the bits of the scalar.
// A bit b doubles Rb and replaces the other with the sum of both. The state keeps them by role, as
// the one doubled last and the sum, so no swap is needed: a bit that differs from the one before
// doubles the sum, and an equal bit doubles the doubled point again. Lanes differ in a mask only.
//
// Source: [RFC 7748 5]; the formulas: Montgomery, "Speeding the Pollard and
//         elliptic curve methods of factorization" (1987), section 10.3.1.
#pragma once

#include "crypto/limbs51.h"
#include "crypto/ratios51.h"

namespace wicket::crypto {

// x / z is the u-coordinate; z = 0 is the point at infinity. Both formulas need the sum and the
// difference of x and z, so a point is stored as these.
template <typename Field>
struct LadderPoint {
  typename Field::Narrow plus, minus;  // x + z, x - z
};

template <typename Field>
[[gnu::always_inline]] inline LadderPoint<Field> PointOf(const typename Field::Wide& x,
                                                         const typename Field::Wide& z) {
  return {Field::Carry(Field::Add(x, z)), Field::Carry(Field::Subtract(x, z))};
}

// 2 multiplications, 2 squarings.
template <typename Field>
[[gnu::always_inline]] inline LadderPoint<Field> DoubleOf(const typename Field::Narrow& plus,
                                                          const typename Field::Narrow& minus) {
  using Narrow = typename Field::Narrow;
  const typename Field::Wide plus_squared = Field::Square(plus);
  const typename Field::Wide minus_squared = Field::Square(minus);
  const Narrow e = Field::Carry(Field::Subtract(plus_squared, minus_squared));
  const Narrow aa = Field::Carry(plus_squared), bb = Field::Carry(minus_squared);
  const Narrow f = Field::Carry(Field::Add121665(plus_squared, e));
  const typename Field::Wide x = Field::Multiply(aa, bb), z = Field::Multiply(e, f);
  return PointOf<Field>(x, z);
}

template <typename Field>
struct LadderState {
  LadderPoint<Field> doubled, sum;
};

// One bit: 5 multiplications and 4 squarings. Doubles the sum where the mask is all ones, and the
// doubled point elsewhere.
//
// Only the doubling depends on the choice. The sum of both points is the same either way: da + cb
// is symmetric, da - cb changes its sign, and both are squared.
template <typename Field, typename Lane>
[[gnu::always_inline]] inline void LadderStep(const typename Field::Narrow& x1, const Lane& mask,
                                              LadderState<Field>* state) {
  using Narrow = typename Field::Narrow;
  using Wide = typename Field::Wide;
  const LadderPoint<Field>&doubled = state->doubled, &sum = state->sum;
  const Wide da = Field::Multiply(sum.minus, doubled.plus);
  const Wide cb = Field::Multiply(sum.plus, doubled.minus);
  const Narrow plus = Field::Select(mask, doubled.plus, sum.plus);
  const Narrow minus = Field::Select(mask, doubled.minus, sum.minus);
  const Narrow both = Field::Carry(Field::Add(da, cb));
  const Narrow difference = Field::Carry(Field::Subtract(da, cb));
  const Wide x = Field::Square(both), difference_squared = Field::Square(difference);
  const Wide z = Field::Multiply(x1, Field::Carry(difference_squared));
  state->doubled = DoubleOf<Field>(plus, minus);
  state->sum = PointOf<Field>(x, z);
}

// The bit changes of a clamped scalar: bit t says whether bits t and t + 1 differ.
static inline void ChangesOfScalar(const uint8_t scalar[32], uint64_t changes[4]) {
  memcpy(changes, scalar, 32);
  changes[0] &= ~uint64_t{7};
  changes[3] = (changes[3] & (~uint64_t{0} >> 1)) | uint64_t{1} << 62;
  for (int i = 0; i < 3; ++i) changes[i] ^= changes[i] >> 1 | changes[i + 1] << 63;
  changes[3] ^= changes[3] >> 1;
}

// The masks of LadderStep() when all lanes multiply by the same scalar.
template <typename Lane>
class OneScalar {
 public:
  explicit OneScalar(const uint8_t* const scalars[1]) { ChangesOfScalar(scalars[0], changes_); }
  Lane Mask(int t) const { return Lane::Broadcast(-(changes_[t / 64] >> (t % 64) & 1)); }

 private:
  uint64_t changes_[4];
};

// The masks when each lane has its own scalar.
template <typename Lane>
class ScalarEach {
 public:
  explicit ScalarEach(const uint8_t* const scalars[Lane::kCount]) {
    uint64_t words[4][Lane::kCount];
    for (int lane = 0; lane < Lane::kCount; ++lane) {
      uint64_t changes[4];
      ChangesOfScalar(scalars[lane], changes);
      for (int i = 0; i < 4; ++i) words[i][lane] = changes[i];
    }
    for (int i = 0; i < 4; ++i) changes_[i] = Lane::Load(words[i]);
  }
  Lane Mask(int t) const {
    return Lane::Broadcast(0) - (changes_[t / 64].ShiftRightBy(t % 64) & Lane::Broadcast(1));
  }

 private:
  Lane changes_[4];
};

// products[i] = clamp(scalar i) * points[i], as x / z. For a low-order point x or z is 0, whatever
// the scalar.
//
// Secrets: constant time in scalars and points. Leaves both in registers and on the stack; the
//          caller wipes them.
template <typename Field, typename Lane, typename Scalars>
void Ladder(const uint8_t* const scalars[], const uint8_t* const points[], Ratio51 products[]) {
  uint64_t limbs[5][Lane::kCount], one_lane[5];
  for (int lane = 0; lane < Lane::kCount; ++lane) {
    LimbsOfBytes(points[lane], one_lane);
    for (int i = 0; i < 5; ++i) limbs[i][lane] = one_lane[i];
  }
  const typename Field::Narrow x1 = Field::Load(limbs);
  const typename Field::Wide one = Field::Widen(Field::Small(1));
  const Scalars bits(scalars);

  // R0 is infinity, (1 : 0), and R1 the point. Bit 255 counts as 0, so R0 is the doubled point.
  LadderState<Field> state{PointOf<Field>(one, Field::Widen(Field::Small(0))),
                           PointOf<Field>(Field::Widen(x1), one)};
  for (int t = 254; t >= 3; --t) LadderStep<Field, Lane>(x1, bits.Mask(t), &state);
  // Bits 2 to 0 are clear, so R0 is the one to double. The change from bit 3 to bit 2 says where
  // it is.
  const Lane mask = bits.Mask(2);
  LadderPoint<Field> r0{Field::Select(mask, state.doubled.plus, state.sum.plus),
                        Field::Select(mask, state.doubled.minus, state.sum.minus)};
  for (int t = 2; t >= 0; --t) r0 = DoubleOf<Field>(r0.plus, r0.minus);
  // The sum and the difference of x + z and x - z are 2 x and 2 z.
  const LadderPoint<Field> twice = PointOf<Field>(Field::Widen(r0.plus), Field::Widen(r0.minus));
  Field::Store(twice.plus, limbs);
  for (int lane = 0; lane < Lane::kCount; ++lane) {
    for (int i = 0; i < 5; ++i) products[lane].x[i] = limbs[i][lane];
  }
  Field::Store(twice.minus, limbs);
  for (int lane = 0; lane < Lane::kCount; ++lane) {
    for (int i = 0; i < 5; ++i) products[lane].z[i] = limbs[i][lane];
  }
}

}  // namespace wicket::crypto
