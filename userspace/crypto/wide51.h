// Sums of products in five 51-bit limbs, one element a lane: the common part of field51.h and
// field51_fma.h.
#pragma once

#include "crypto/limbs51.h"

namespace wicket::crypto {

template <typename Lane>
struct Wide51 {
  struct Wide {
    Lane limb[5];  // < 2^62
  };

  // The sum of two products, < 2^60.2 each: < 2^61.2.
  [[gnu::always_inline]] static Wide Add(const Wide& a, const Wide& b) {
    return {{a.limb[0] + b.limb[0], a.limb[1] + b.limb[1], a.limb[2] + b.limb[2],
             a.limb[3] + b.limb[3], a.limb[4] + b.limb[4]}};
  }

  // The difference of two products. Adds 2^10 p, each limb of which is slightly below 2^61, so that
  // no limb falls below zero: < 2^60.2 + 2^61 < 2^61.7.
  [[gnu::always_inline]] static Wide Subtract(const Wide& a, const Wide& b) {
    const Lane low = Lane::Broadcast((kMask51 - 18) << 10), high = Lane::Broadcast(kMask51 << 10);
    return {{a.limb[0] + low - b.limb[0], a.limb[1] + high - b.limb[1],
             a.limb[2] + high - b.limb[2], a.limb[3] + high - b.limb[3],
             a.limb[4] + high - b.limb[4]}};
  }
};

}  // namespace wicket::crypto
