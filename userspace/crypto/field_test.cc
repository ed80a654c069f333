// Proves the bounds of field51.h and field51_fma.h for all inputs: IntervalLane aborts the test on
// any value that could exceed a lane or an operand of the multiplier.
#include <gtest/gtest.h>

#include <cmath>

#include "crypto/emulated_lane.h"
#include "crypto/field51.h"
#include "crypto/field51_fma.h"
#include "crypto/montgomery_ladder.h"

namespace wicket::crypto {
namespace {

using F51 = Field51<IntervalLane>;
using Fma = Field51Fma<IntervalLane>;

// The greatest limbs of a Narrow, and the greatest after Carry().
template <typename Field>
struct Bounds;
template <>
struct Bounds<F51> {
  static constexpr int kLimbs = 5;
  static uint64_t Narrow(int) { return kMask52; }
  static uint64_t Carried(int i) { return (uint64_t{1} << 51) + (i == 0 ? 19 << 11 : 1 << 11) - 1; }
  static constexpr double kProductBits = 60.2;
};
template <>
struct Bounds<Fma> {
  static constexpr int kLimbs = 5;
  static uint64_t Narrow(int) { return (uint64_t{1} << 51) + (1 << 16) - 1; }
  static uint64_t Carried(int i) { return Bounds<F51>::Carried(i); }
  static constexpr double kProductBits = 59.8;
};

template <typename Field>
typename Field::Narrow FullNarrow() {
  typename Field::Narrow a;
  for (int i = 0; i < Bounds<Field>::kLimbs; ++i) {
    a.limb[i] = IntervalLane::UpTo(Bounds<Field>::Narrow(i));
  }
  return a;
}

template <typename Field>
class FieldTest : public ::testing::Test {
 protected:
  using Narrow = typename Field::Narrow;
  using Wide = typename Field::Wide;
  static double Bits(const Wide& a) {
    uint64_t greatest = 0;
    for (const IntervalLane& limb : a.limb) greatest = std::max(greatest, limb.greatest);
    return std::log2(static_cast<double>(greatest));
  }
  static void ExpectNarrow(const Narrow& a) {
    for (int i = 0; i < Bounds<Field>::kLimbs; ++i) {
      EXPECT_LE(a.limb[i].greatest, Bounds<Field>::Carried(i)) << i;
      EXPECT_LE(Bounds<Field>::Carried(i), Bounds<Field>::Narrow(i)) << i;
    }
  }
};

using Fields = ::testing::Types<F51, Fma>;
TYPED_TEST_SUITE(FieldTest, Fields);

TYPED_TEST(FieldTest, ProductsOfFullLimbsStayInTheirBounds) {
  const auto full = FullNarrow<TypeParam>();
  const auto product = TypeParam::Multiply(full, full), square = TypeParam::Square(full);
  EXPECT_LT(this->Bits(product), Bounds<TypeParam>::kProductBits);
  EXPECT_LT(this->Bits(square), Bounds<TypeParam>::kProductBits);
  EXPECT_LT(this->Bits(TypeParam::Add(product, square)), 62);
  EXPECT_LT(this->Bits(TypeParam::Subtract(product, square)), 62);
  EXPECT_LT(this->Bits(TypeParam::Add121665(product, full)), 62);
}

TYPED_TEST(FieldTest, OneCarryMakesAnythingWideNarrow) {
  typename TypeParam::Wide wide;
  for (IntervalLane& limb : wide.limb) limb = IntervalLane::UpTo((uint64_t{1} << 62) - 1);
  this->ExpectNarrow(TypeParam::Carry(wide));
}

// A step from any Narrow state ends in a Narrow state; by induction every step does.
TYPED_TEST(FieldTest, TheLadderKeepsItsBounds) {
  const auto full = FullNarrow<TypeParam>();
  LadderState<TypeParam> state{{full, full}, {full, full}};
  LadderStep<TypeParam, IntervalLane>(full, IntervalLane::Broadcast(0), &state);
  for (const auto& point : {state.doubled, state.sum}) {
    this->ExpectNarrow(point.plus);
    this->ExpectNarrow(point.minus);
  }
}

// The multiple of p that keeps differences positive is indeed a multiple of p.
TEST(FieldBias, IsAMultipleOfP) {
  using Lane = EmulatedLane<1>;
  const auto is_zero = [](const uint64_t limbs[5]) {
    uint8_t bytes[32];
    return BytesOfLimbs(limbs, bytes) == 0;
  };
  uint64_t limbs[5][1], flat[5];
  const auto zero51 = Field51<Lane>::Widen(Field51<Lane>::Small(0));
  Field51<Lane>::Store(Field51<Lane>::Carry(Field51<Lane>::Subtract(zero51, zero51)), limbs);
  memcpy(flat, limbs, sizeof(flat));
  EXPECT_TRUE(is_zero(flat));
  using F = Field51Fma<Lane>;
  const auto zero = F::Small(0);
  F::Store(F::Carry(F::Subtract(F::Widen(zero), F::Widen(zero))), limbs);
  memcpy(flat, limbs, sizeof(flat));
  EXPECT_TRUE(is_zero(flat));
  for (const auto& product : {F::Multiply(zero, zero), F::Square(zero)}) {
    F::Store(F::Carry(product), limbs);
    memcpy(flat, limbs, sizeof(flat));
    EXPECT_TRUE(is_zero(flat));
  }
  EXPECT_TRUE(is_zero(flat));
}

// BytesOfLimbs() takes limbs < 2^52, so elements below 2^257.
TEST(Limbs51, AreReducedFully) {
  uint8_t bytes[32], expected[32] = {};
  const auto reduce = [&](uint64_t low, uint64_t others) {
    const uint64_t limbs[5] = {low, others, others, others, others};
    return BytesOfLimbs(limbs, bytes);
  };
  for (uint64_t k = 0; k < 64; ++k) {  // p + k, in limbs that are reduced and in some that are not
    expected[0] = static_cast<uint8_t>(k);
    EXPECT_EQ(reduce(kMask51 - 18 + k, kMask51) == 0, k == 0);
    EXPECT_EQ(memcmp(bytes, expected, 32), 0) << k;
    // 2 p + k = 2^256 - 38 + k: all limbs doubled.
    EXPECT_EQ(reduce(2 * (kMask51 - 18) + k, 2 * kMask51) == 0, k == 0);
    EXPECT_EQ(memcmp(bytes, expected, 32), 0) << k;
  }
  // All limbs 2^52 - 1: 2 (2^255 - 1) + (1 + 2^51 + ...), which the next line adds up.
  reduce(kMask52, kMask52);
  uint8_t sum[32];
  const uint64_t reference[5] = {2 * 18 + 1, 1, 1, 1, 1};
  BytesOfLimbs(reference, sum);
  EXPECT_EQ(memcmp(bytes, sum, 32), 0);
}

}  // namespace
}  // namespace wicket::crypto
