// X25519 in lanes against one point at a time, on arbitrary points and scalars.
#include <string.h>

#include <algorithm>

#include "crypto/curve25519.h"
#include "crypto/x25519_batch.h"

using namespace wicket;

namespace {

constexpr size_t kPointsMax = 17;  // two sets of lanes and one more

}  // namespace

// One byte: the number of points, and whether each has its own scalar. Then scalars, then points.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const bool ready = crypto::Initialize().ok();
  if (!ready || size < 1) return 0;
  const size_t n = data[0] % (kPointsMax + 1);
  const bool one_scalar = data[0] >= 128;
  ++data, --size;
  uint8_t bytes[2 * kPointsMax][kKeyBytes] = {};
  memcpy(bytes, data, std::min(size, sizeof(bytes)));
  Secret<kKeyBytes> scalars[kPointsMax], shared[kPointsMax];
  const Secret<kKeyBytes>* scalar_views[kPointsMax];
  const uint8_t* points[kPointsMax];
  bool is_secret[kPointsMax];
  for (size_t i = 0; i < n; ++i) {
    memcpy(scalars[i].data(), bytes[one_scalar ? 0 : i], kKeyBytes);
    scalar_views[i] = &scalars[i];
    points[i] = bytes[n + i];
  }
  for (auto backend : {crypto::X25519Backend::kAvx2x4, crypto::X25519Backend::kIfma8}) {
    if (!crypto::RunsHere(backend)) continue;
    if (one_scalar) {
      crypto::X25519Batch(backend, scalars[0], {points, n}, {shared, n}, {is_secret, n});
    } else {
      crypto::X25519BatchEach(backend, {scalar_views, n}, {points, n}, {shared, n}, {is_secret, n});
    }
    for (size_t i = 0; i < n; ++i) {
      Secret<kKeyBytes> expected;
      const bool ok = crypto::X25519(scalars[i], points[i], &expected);
      if (ok != is_secret[i]) __builtin_trap();
      if (!crypto::Equal(expected.data(), shared[i].data(), kKeyBytes)) __builtin_trap();
    }
  }
  return 0;
}
