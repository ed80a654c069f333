// Eight lanes of 64 bits with the 52-bit multiplier of AVX-512 IFMA.
//
// The whole file is compiled for that instruction set: limbs51.h says what it must not include.
#include <immintrin.h>

#include "crypto/field51.h"
#include "crypto/montgomery_ladder.h"
#include "crypto/x25519_lanes.h"

namespace wicket::crypto {
namespace {

using Vector = uint64_t __attribute__((vector_size(64)));

struct Lane {
  static constexpr int kCount = kIfma8Lanes;
  static Lane Broadcast(uint64_t value) { return {Vector{} + value}; }
  static Lane Load(const uint64_t values[kCount]) {
    Lane lane;
    memcpy(&lane.v, values, sizeof(lane.v));
    return lane;
  }
  void Store(uint64_t values[kCount]) const { memcpy(values, &v, sizeof(v)); }
  // The truth table of `mask ? b : a`.
  static Lane Select(Lane mask, Lane a, Lane b) {
    return {Vector(_mm512_ternarylogic_epi64(__m512i(mask.v), __m512i(b.v), __m512i(a.v), 0xca))};
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
  // sum + the low or high 52 bits of a * b.
  friend Lane MultiplyAddLow(Lane sum, Lane a, Lane b) {
    return {Vector(_mm512_madd52lo_epu64(__m512i(sum.v), __m512i(a.v), __m512i(b.v)))};
  }
  friend Lane MultiplyAddHigh(Lane sum, Lane a, Lane b) {
    return {Vector(_mm512_madd52hi_epu64(__m512i(sum.v), __m512i(a.v), __m512i(b.v)))};
  }

  Vector v;
};

// VZEROALL clears registers 0 to 15 only.
void WipeRegisters() {
  asm volatile(
      "vzeroall\n"
      "vpxorq %%zmm16, %%zmm16, %%zmm16\n vpxorq %%zmm17, %%zmm17, %%zmm17\n"
      "vpxorq %%zmm18, %%zmm18, %%zmm18\n vpxorq %%zmm19, %%zmm19, %%zmm19\n"
      "vpxorq %%zmm20, %%zmm20, %%zmm20\n vpxorq %%zmm21, %%zmm21, %%zmm21\n"
      "vpxorq %%zmm22, %%zmm22, %%zmm22\n vpxorq %%zmm23, %%zmm23, %%zmm23\n"
      "vpxorq %%zmm24, %%zmm24, %%zmm24\n vpxorq %%zmm25, %%zmm25, %%zmm25\n"
      "vpxorq %%zmm26, %%zmm26, %%zmm26\n vpxorq %%zmm27, %%zmm27, %%zmm27\n"
      "vpxorq %%zmm28, %%zmm28, %%zmm28\n vpxorq %%zmm29, %%zmm29, %%zmm29\n"
      "vpxorq %%zmm30, %%zmm30, %%zmm30\n vpxorq %%zmm31, %%zmm31, %%zmm31\n" ::
          : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
            "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm17", "xmm18", "xmm19",
            "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25", "xmm26", "xmm27", "xmm28",
            "xmm29", "xmm30", "xmm31");
}

}  // namespace

void X25519Ifma8(const uint8_t* const scalars[], const uint8_t* const points[],
                 Ratio51 products[]) {
  Ladder<Field51<Lane>, Lane, ScalarEach<Lane>>(scalars, points, products);
  WipeRegisters();
}

void X25519Ifma8OneScalar(const uint8_t* const scalars[], const uint8_t* const points[],
                          Ratio51 products[]) {
  Ladder<Field51<Lane>, Lane, OneScalar<Lane>>(scalars, points, products);
  WipeRegisters();
}

}  // namespace wicket::crypto
