// Run by valgrind's memcheck with secrets marked as undefined memory: a branch or an address that
// depends on a secret is then an error. [ctgrind, A. Langley]
//
//   constant_time          the code that multiplies and hashes secrets
//   constant_time --leak   branches on a secret, to show that a leak would be found
//
// valgrind has no AVX-512. So of ifma8 it checks the source, the ladder over emulated lanes, but
// not the instructions: additions, shifts and multiplications, whose time does not depend on their
// operands.
#include <stdio.h>
#include <string.h>
#include <valgrind/memcheck.h>

#include <random>

#include "crypto/blake2s_lanes.h"
#include "crypto/curve25519.h"
#include "crypto/emulated_lane.h"
#include "crypto/field51.h"
#include "crypto/montgomery_ladder.h"
#include "crypto/x25519_batch.h"
#include "crypto/x25519_lanes.h"

namespace wicket::crypto {
namespace {

constexpr size_t kLanes = 8;

struct Operands {
  Operands() {
    std::mt19937 random(1);
    for (size_t i = 0; i < kLanes; ++i) {
      for (size_t j = 0; j < kKeyBytes; ++j) {
        scalars[i][j] = static_cast<uint8_t>(random());
        points[i][j] = static_cast<uint8_t>(random());
      }
      scalar_views[i] = scalars[i];
      point_views[i] = points[i];
      product_views[i] = products[i];
    }
    VALGRIND_MAKE_MEM_UNDEFINED(scalars, sizeof(scalars));
    VALGRIND_MAKE_MEM_UNDEFINED(points, sizeof(points));
  }
  void Run(X25519Lanes multiply) {
    multiply(scalar_views, point_views, ratios);
    Divide(ratios, kLanes, product_views, nonzero);
  }
  uint8_t scalars[kLanes][kKeyBytes], points[kLanes][kKeyBytes], products[kLanes][kKeyBytes];
  const uint8_t *scalar_views[kLanes], *point_views[kLanes];
  uint8_t* product_views[kLanes];
  uint64_t nonzero[kLanes];
  Ratio51 ratios[kLanes] = {};
};

using Emulated = EmulatedLane<kIfma8Lanes>;

void MultiplyAll() {
  Operands().Run(Ladder<Field51<Emulated>, Emulated, ScalarEach<Emulated>>);
  Operands().Run(Ladder<Field51<Emulated>, Emulated, OneScalar<Emulated>>);
  if (RunsHere(X25519Backend::kAvx2x4)) {
    Operands().Run(X25519Avx2x4);
    Operands().Run(X25519Avx2x4OneScalar);
  } else {
    puts("avx2x4: not on this CPU");
  }
  if (RunsHere(X25519Backend::kIfma8)) {  // in a future valgrind
    Operands().Run(X25519Ifma8);
    Operands().Run(X25519Ifma8OneScalar);
  }
  // The whole batch. A point left over would go to libsodium, which branches on a zero product;
  // that is no secret. Lanes do not branch.
  const X25519Backend backend = FastestX25519();
  if (backend == X25519Backend::kPortable) return;
  Operands operands;
  Secret<kKeyBytes> scalar, shared[kLanes];
  memcpy(scalar.data(), operands.scalars[0], kKeyBytes);
  bool is_secret[kLanes];
  X25519Batch(backend, scalar, operands.point_views, shared, is_secret);
}

void HashAll() {
  HashLanes chaining_key, input, key;
  VALGRIND_MAKE_MEM_UNDEFINED(&chaining_key, sizeof(chaining_key));
  VALGRIND_MAKE_MEM_UNDEFINED(&input, sizeof(input));
  KdfLanes(&chaining_key, input, &key);
}

int Main(int argc, char** argv) {
  if (!RUNNING_ON_VALGRIND) {
    fputs("constant_time: says nothing without valgrind\n", stderr);
    return 2;
  }
  if (!Initialize().ok()) return 2;
  if (argc > 1 && strcmp(argv[1], "--leak") == 0) {
    const Operands operands;
    if (operands.scalars[0][0] & 1) puts("leaked");
    return 0;
  }
  MultiplyAll();
  HashAll();
  return 0;
}

}  // namespace
}  // namespace wicket::crypto

int main(int argc, char** argv) { return wicket::crypto::Main(argc, argv); }
