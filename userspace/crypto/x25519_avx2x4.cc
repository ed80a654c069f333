// Four lanes of 64 bits with the 32-bit multiplier of AVX2.
//
// Compiled for that instruction set as a whole: limbs51.h says what must not
// be included here.
#include <immintrin.h>

#include "crypto/field25.h"
#include "crypto/montgomery_ladder.h"
#include "crypto/x25519_lanes.h"

namespace wicket::crypto {
namespace {

using Vector = uint64_t __attribute__((vector_size(32)));

struct Lane {
  static constexpr int kCount = kAvx2x4Lanes;
  static Lane Broadcast(uint64_t value) { return {Vector{} + value}; }
  static Lane Load(const uint64_t values[kCount]) {
    Lane lane;
    memcpy(&lane.v, values, sizeof(lane.v));
    return lane;
  }
  void Store(uint64_t values[kCount]) const { memcpy(values, &v, sizeof(v)); }
  static Lane Select(Lane mask, Lane a, Lane b) {
    return {Vector(_mm256_blendv_epi8(__m256i(a.v), __m256i(b.v), __m256i(mask.v)))};
  }
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
  // Of the low 32 bits.
  friend Lane operator*(Lane a, Lane b) {
    return {Vector(_mm256_mul_epu32(__m256i(a.v), __m256i(b.v)))};
  }

  // Keeps what comes after it from being computed before, and ten sums in registers.
  static void KeepInRegisters(Lane (&r)[10]) {
    asm(""
        : "+x"(r[0].v), "+x"(r[1].v), "+x"(r[2].v), "+x"(r[3].v), "+x"(r[4].v), "+x"(r[5].v),
          "+x"(r[6].v), "+x"(r[7].v), "+x"(r[8].v), "+x"(r[9].v));
  }

  Vector v;
};

void WipeRegisters() { _mm256_zeroall(); }

}  // namespace

void X25519Avx2x4(const uint8_t* const scalars[], const uint8_t* const points[],
                  uint8_t* const products[], uint64_t nonzero[]) {
  Ladder<Field25<Lane>, Lane, ScalarEach<Lane>>(scalars, points, products, nonzero);
  WipeRegisters();
}

void X25519Avx2x4OneScalar(const uint8_t* const scalars[], const uint8_t* const points[],
                           uint8_t* const products[], uint64_t nonzero[]) {
  Ladder<Field25<Lane>, Lane, OneScalar<Lane>>(scalars, points, products, nonzero);
  WipeRegisters();
}

}  // namespace wicket::crypto
