// Four lanes of 64 bits with AVX2 and the multiplier of FMA.
//
// The whole file is compiled for that instruction set: limbs51.h says what it must not include.
#include <immintrin.h>

#include "crypto/field51_fma.h"
#include "crypto/montgomery_ladder.h"
#include "crypto/x25519_lanes.h"

namespace wicket::crypto {
namespace {

using Vector = uint64_t __attribute__((vector_size(32)));

constexpr uint64_t BitsOf(double value) { return __builtin_bit_cast(uint64_t, value); }

struct Lane {
  static constexpr int kCount = kAvx2x4Lanes;
  static Lane Broadcast(uint64_t value) { return {Vector{} + value}; }
  static Lane Load(const uint64_t values[kCount]) {
    Lane lane;
    memcpy(&lane.v, values, sizeof(lane.v));
    return lane;
  }
  void Store(uint64_t values[kCount]) const { memcpy(values, &v, sizeof(v)); }
  template <int bits>
  Lane ShiftLeft() const {
    return {v << bits};
  }
  template <int bits>
  Lane ShiftRight() const {
    return {v >> bits};
  }
  Lane ShiftRightBy(int bits) const { return {v >> static_cast<unsigned>(bits)}; }

  friend Lane operator+(Lane a, Lane b) { return {a.v + b.v}; }
  friend Lane operator-(Lane a, Lane b) { return {a.v - b.v}; }
  friend Lane operator&(Lane a, Lane b) { return {a.v & b.v}; }
  // The product of the low 32 bits.
  friend Lane operator*(Lane a, Lane b) {
    return {Vector(_mm256_mul_epu32(__m256i(a.v), __m256i(b.v)))};
  }

  // Integers < 2^52 as doubles. The bits of the double 2^52 + n are those of 2^52, plus n.
  using Real = __m256d;
  static Real ToReal(Lane a) {
    return _mm256_sub_pd(__m256d(a.v + BitsOf(0x1p52)), _mm256_set1_pd(0x1p52));
  }
  static Lane FromReal(Real a) {
    return {Vector(_mm256_add_pd(a, _mm256_set1_pd(0x1p52))) - BitsOf(0x1p52)};
  }
  static Real Select(Lane mask, Real a, Real b) { return _mm256_blendv_pd(a, b, __m256d(mask.v)); }
  static constexpr uint64_t kHighBits = BitsOf(0x1p103), kLowBits = BitsOf(0x3p51);
  // Adds both halves of a * b, with the constant bits of the binades.
  static void MultiplyAdd(Real a, Real b, Lane* low, Lane* high) {
    const Real h = _mm256_fmadd_pd(a, b, _mm256_set1_pd(0x1p103));
    const Real l = _mm256_fmadd_pd(a, b, _mm256_sub_pd(_mm256_set1_pd(0x1p103 + 0x3p51), h));
    high->v += Vector(h);
    low->v += Vector(l);
  }

  Vector v;
};

void WipeRegisters() { _mm256_zeroall(); }

}  // namespace

void X25519Avx2x4(const uint8_t* const scalars[], const uint8_t* const points[],
                  Ratio51 products[]) {
  Ladder<Field51Fma<Lane>, Lane, ScalarEach<Lane>>(scalars, points, products);
  WipeRegisters();
}

void X25519Avx2x4OneScalar(const uint8_t* const scalars[], const uint8_t* const points[],
                           Ratio51 products[]) {
  Ladder<Field51Fma<Lane>, Lane, OneScalar<Lane>>(scalars, points, products);
  WipeRegisters();
}

}  // namespace wicket::crypto
