// Measures whether the time of a batch of multiplications depends on the scalar.
// tests/constant_time.cc examines the code instead.
//
// Two classes of input in random order, one fixed and one drawn at random each time. Welch's
// t-test compares their times: all of them, and without the slowest tenth or half. |t| above 4.5
// in any of the three, repeatedly, is a leak.
//
//   wicket_x25519_timing [MEASUREMENTS]
//
// Source: Reparaz, Balasch, Verbauwhede, "Dude, is my code constant time?" (2017).
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <x86intrin.h>

#include <algorithm>
#include <vector>

#include "crypto/curve25519.h"
#include "crypto/x25519_batch.h"

namespace wicket::crypto {
namespace {

struct Sample {
  bool is_fixed;
  double cycles;
};

double WelchT(const std::vector<Sample>& samples, double limit) {
  double n[2] = {}, mean[2] = {}, squares[2] = {};
  for (const Sample& sample : samples) {
    if (sample.cycles > limit) continue;
    const int c = sample.is_fixed;
    const double delta = sample.cycles - mean[c];
    mean[c] += delta / ++n[c];
    squares[c] += delta * (sample.cycles - mean[c]);
  }
  return (mean[0] - mean[1]) /
         sqrt(squares[0] / (n[0] - 1) / n[0] + squares[1] / (n[1] - 1) / n[1]);
}

// The fixed input: a scalar with few bits set, one of eight such, or a point with product zero.
enum class Varied { kScalar, kOneOfScalars, kPoint };

void Measure(X25519Backend backend, Varied what, size_t measurements) {
  constexpr size_t kPoints = 8;
  uint8_t points[kPoints][kKeyBytes];
  const uint8_t* views[kPoints];
  Secret<kKeyBytes> shared[kPoints];
  bool is_secret[kPoints];
  for (size_t i = 0; i < kPoints; ++i) views[i] = points[i];
  std::vector<Sample> samples;
  for (size_t m = 0; m < measurements; ++m) {
    uint8_t coin;
    FillRandom(&coin, 1);
    Secret<kKeyBytes> scalars[kPoints];
    const Secret<kKeyBytes>* scalar_views[kPoints];
    FillRandom(points[0], sizeof(points));
    for (size_t i = 0; i < kPoints; ++i) {
      FillRandom(scalars[i].data(), kKeyBytes);
      scalar_views[i] = &scalars[i];
    }
    const bool is_fixed = coin & 1;
    // The same work before the measurement for both classes.
    const uint8_t keep = static_cast<uint8_t>(-!is_fixed);
    uint8_t* varied = what == Varied::kPoint ? points[0] : scalars[0].data();
    for (size_t i = 0; i < kKeyBytes; ++i) varied[i] &= keep;
    const uint64_t begin = __rdtsc();
    if (what == Varied::kOneOfScalars) {
      X25519BatchEach(backend, scalar_views, views, shared, is_secret);
    } else {
      X25519Batch(backend, scalars[0], views, shared, is_secret);
    }
    samples.push_back({is_fixed, static_cast<double>(__rdtsc() - begin)});
  }
  std::vector<double> sorted;
  for (const Sample& sample : samples) sorted.push_back(sample.cycles);
  std::sort(sorted.begin(), sorted.end());
  const double all = WelchT(samples, sorted.back());
  const double most = WelchT(samples, sorted[sorted.size() * 9 / 10]);
  const double half = WelchT(samples, sorted[sorted.size() / 2]);
  constexpr const char* kNames[] = {"scalar", "one of scalars", "point"};
  printf("%-9s %-14s t = %6.2f, fastest 90 %% %6.2f, fastest half %6.2f\n", ToString(backend),
         kNames[static_cast<int>(what)], all, most, half);
}

}  // namespace
}  // namespace wicket::crypto

int main(int argc, char** argv) {
  using namespace wicket::crypto;
  if (!Initialize().ok()) return 1;
  const size_t measurements = argc > 1 ? strtoul(argv[1], nullptr, 10) : 100'000;
  if (measurements < 100) {
    fprintf(stderr, "usage: %s [MEASUREMENTS, at least 100]\n", argv[0]);
    return 2;
  }
  for (auto backend : {X25519Backend::kPortable, X25519Backend::kAvx2x4, X25519Backend::kIfma8}) {
    if (!RunsHere(backend)) continue;
    for (auto what : {Varied::kScalar, Varied::kOneOfScalars, Varied::kPoint}) {
      Measure(backend, what, measurements);
    }
  }
  return 0;
}
