#include "crypto/ratios51.h"

#include <assert.h>

#include "crypto/inversion.h"
#include "crypto/limbs51.h"

namespace wicket::crypto {
namespace {

// One element in the integer unit, with products of 64 by 64 bits.
//
//   Narrow   limbs < 2^52: the only type that is multiplied
//   Wide     limbs < 2^112: sums of products
struct Field51Single {
  __extension__ using Product = unsigned __int128;
  struct Narrow {
    uint64_t limb[5];
  };
  struct Wide {
    Product limb[5];
  };

  static void CheckNarrow([[maybe_unused]] const Narrow& a) {
    for (int i = 0; i < 5; ++i) assert(a.limb[i] >> 52 == 0);
  }

  // Columns 5 to 8 weigh 19 times columns 0 to 3: < 5 * 19 * 2^104 < 2^111.
  static Wide Multiply(const Narrow& x, const Narrow& y) {
    CheckNarrow(x);
    CheckNarrow(y);
    const uint64_t *a = x.limb, *b = y.limb;
    const Product b1 = 19 * b[1], b2 = 19 * b[2], b3 = 19 * b[3], b4 = 19 * b[4];
    return {
        {a[0] * Product{b[0]} + a[1] * b4 + a[2] * b3 + a[3] * b2 + a[4] * b1,
         a[0] * Product{b[1]} + a[1] * Product{b[0]} + a[2] * b4 + a[3] * b3 + a[4] * b2,
         a[0] * Product{b[2]} + a[1] * Product{b[1]} + a[2] * Product{b[0]} + a[3] * b4 + a[4] * b3,
         a[0] * Product{b[3]} + a[1] * Product{b[2]} + a[2] * Product{b[1]} + a[3] * Product{b[0]} +
             a[4] * b4,
         a[0] * Product{b[4]} + a[1] * Product{b[3]} + a[2] * Product{b[2]} + a[3] * Product{b[1]} +
             a[4] * Product{b[0]}}};
  }

  // The columns of Multiply(x, x).
  static Wide Square(const Narrow& x) {
    CheckNarrow(x);
    const uint64_t* a = x.limb;
    const uint64_t twice0 = 2 * a[0], twice1 = 2 * a[1];
    const Product a3 = 19 * a[3], a4 = 19 * a[4];
    return {{a[0] * Product{a[0]} + twice1 * a4 + 2 * a[2] * a3,
             twice0 * Product{a[1]} + 2 * a[2] * a4 + a[3] * a3,
             twice0 * Product{a[2]} + a[1] * Product{a[1]} + 2 * a[3] * a4,
             twice0 * Product{a[3]} + twice1 * Product{a[2]} + a[4] * a4,
             twice0 * Product{a[4]} + twice1 * Product{a[3]} + a[2] * Product{a[2]}}};
  }

  // Carries twice, each time all limbs in parallel: a serial chain would take most of the time of a
  // squaring. Columns 0 to 3 carry less than 2^61, and column 4, which has no terms of weight 19,
  // less than 2^55.4; 19 times that is < 2^60. After that limbs are < 2^61.1 and carry less than
  // 2^11: limb 0 becomes < 2^51 + 19 * 2^11, the others < 2^51 + 2^11.
  static Narrow Carry(const Wide& a) {
    uint64_t low[5], high[5];
    for (int i = 0; i < 5; ++i) {
      low[i] = static_cast<uint64_t>(a.limb[i]) & kMask51;
      high[i] = static_cast<uint64_t>(a.limb[i] >> 51);
    }
    for (int i = 0; i < 5; ++i) low[i] += i == 0 ? 19 * high[4] : high[i - 1];
    Narrow out;
    for (int i = 0; i < 5; ++i) {
      out.limb[i] = (low[i] & kMask51) + (i == 0 ? 19 * (low[4] >> 51) : low[i - 1] >> 51);
    }
    return out;
  }
};

using Narrow = Field51Single::Narrow;

Narrow Multiply(const Narrow& a, const Narrow& b) {
  return Field51Single::Carry(Field51Single::Multiply(a, b));
}

// Returns: all ones when the element is 0, in any representation; else 0.
uint64_t IsZero(const uint64_t limbs[5]) {
  uint8_t bytes[32];
  const uint64_t any = BytesOfLimbs(limbs, bytes);
  return ((any | (0 - any)) >> 63) - 1;
}

}  // namespace

void Divide(const Ratio51 ratios[], size_t n, uint8_t* const quotients[], uint64_t nonzero[]) {
  if (n == 0) return;
  // A z of 0 would make the whole product 0, so such a ratio becomes 0 / 1.
  Narrow x[kRatiosMax], z[kRatiosMax], product[kRatiosMax];  // product[i] = z[0] * ... * z[i]
  for (size_t i = 0; i < n; ++i) {
    const uint64_t none = IsZero(ratios[i].z);
    for (int k = 0; k < 5; ++k) {
      x[i].limb[k] = ratios[i].x[k] & ~none;
      z[i].limb[k] = (ratios[i].z[k] & ~none) | (none & (k == 0));
    }
    product[i] = i == 0 ? z[0] : Multiply(product[i - 1], z[i]);
  }
  Narrow inverse = Invert<Field51Single>(product[n - 1]);  // of product[i]
  for (size_t i = n; i-- > 0;) {
    const Narrow of_z = i == 0 ? inverse : Multiply(inverse, product[i - 1]);
    inverse = Multiply(inverse, z[i]);
    nonzero[i] = BytesOfLimbs(Multiply(x[i], of_z).limb, quotients[i]);
  }
}

}  // namespace wicket::crypto
