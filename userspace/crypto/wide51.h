// Sums of products in five limbs of 51 bits, one element a lane: what the fields of
// field51.h and field51_fma.h have in common.
#pragma once

#include "crypto/limbs51.h"

namespace wicket::crypto {

template <typename Lane>
struct Wide51 {
  struct Wide {
    Lane limb[5];  // < 2^62
  };

  // Of two products, < 2^60.2 each: the sum is < 2^61.2.
  [[gnu::always_inline]] static Wide Add(const Wide& a, const Wide& b) {
    return {{a.limb[0] + b.limb[0], a.limb[1] + b.limb[1], a.limb[2] + b.limb[2],
             a.limb[3] + b.limb[3], a.limb[4] + b.limb[4]}};
  }

  // Of two products. 2^10 p, limb by limb 2^61 less a little, keeps every limb
  // from falling below zero: the difference is < 2^60.2 + 2^61 < 2^61.7.
  [[gnu::always_inline]] static Wide Subtract(const Wide& a, const Wide& b) {
    const Lane low = Lane::Broadcast((kMask51 - 18) << 10), high = Lane::Broadcast(kMask51 << 10);
    return {{a.limb[0] + low - b.limb[0], a.limb[1] + high - b.limb[1],
             a.limb[2] + high - b.limb[2], a.limb[3] + high - b.limb[3],
             a.limb[4] + high - b.limb[4]}};
  }
};

}  // namespace wicket::crypto
