#include "crypto/x25519_batch.h"

#include <sodium.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "crypto/curve25519.h"
#include "crypto/x25519_lanes.h"

namespace wicket::crypto {
namespace {

constexpr X25519Backend kBySpeed[] = {X25519Backend::kIfma8, X25519Backend::kAvx2x4,
                                      X25519Backend::kPortable};
constexpr size_t kLanesMax = std::max(kIfma8Lanes, kAvx2x4Lanes);
constexpr size_t kWorth = 2;           // fewer points are faster in libsodium
constexpr size_t kStackBytes = 32768;  // twice as much as lanes may leave

struct Lanes {
  size_t count;
  X25519Lanes one_scalar, each;
};

Lanes LanesOf(X25519Backend backend) {
  switch (backend) {
    case X25519Backend::kIfma8:
      return {kIfma8Lanes, X25519Ifma8OneScalar, X25519Ifma8};
    case X25519Backend::kAvx2x4:
      return {kAvx2x4Lanes, X25519Avx2x4OneScalar, X25519Avx2x4};
    case X25519Backend::kPortable:
      break;
  }
  return {1, nullptr, nullptr};
}

// `scalars` holds one scalar for all points, or one for each.
void Multiply(X25519Backend backend, std::span<const Secret<kKeyBytes>* const> scalars,
              std::span<const uint8_t* const> points, std::span<Secret<kKeyBytes>> shared,
              std::span<bool> is_secret) {
  const Lanes lanes = LanesOf(backend);
  const bool one_scalar = scalars.size() == 1;
  const auto scalar = [&](size_t i) -> const Secret<kKeyBytes>& {
    return *scalars[one_scalar ? 0 : i];
  };
  for (size_t begin = 0; begin < points.size(); begin += kRatiosMax) {
    const size_t end = std::min(begin + kRatiosMax, points.size());
    Ratio51 ratios[kRatiosMax + kLanesMax];  // unused lanes of the last set write behind the end
    uint8_t* products[kRatiosMax];
    uint64_t nonzero[kRatiosMax];
    size_t n = 0;
    while (lanes.one_scalar != nullptr && begin + n + kWorth <= end) {
      const size_t wanted = std::min(lanes.count, end - begin - n);
      const uint8_t *lane_scalars[kLanesMax], *lane_points[kLanesMax];
      for (size_t lane = 0; lane < lanes.count; ++lane) {
        const size_t i = begin + n + (lane < wanted ? lane : 0);
        lane_scalars[lane] = scalar(i).data();
        lane_points[lane] = points[i];
      }
      (one_scalar ? lanes.one_scalar : lanes.each)(lane_scalars, lane_points, &ratios[n]);
      for (size_t lane = 0; lane < wanted; ++lane) {
        products[n + lane] = shared[begin + n + lane].data();
      }
      n += wanted;
    }
    Divide(ratios, n, products, nonzero);
    for (size_t i = 0; i < n; ++i) is_secret[begin + i] = nonzero[i] != 0;
    for (size_t i = begin + n; i < end; ++i) {
      is_secret[i] = X25519(scalar(i), points[i], &shared[i]);
    }
    if (n == 0) continue;
    explicit_bzero(ratios, sizeof(ratios));
    explicit_bzero(nonzero, sizeof(nonzero));
    sodium_stackzero(kStackBytes);
  }
}

}  // namespace

const char* ToString(X25519Backend backend) {
  switch (backend) {
    case X25519Backend::kIfma8:
      return "ifma8";
    case X25519Backend::kAvx2x4:
      return "avx2x4";
    case X25519Backend::kPortable:
      return "portable";
  }
  return "?";
}

// The built-ins check CPUID and, by XGETBV, that the kernel saves the registers.
bool RunsHere(X25519Backend backend) {
  switch (backend) {
    case X25519Backend::kIfma8:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512ifma");
    case X25519Backend::kAvx2x4:
      return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case X25519Backend::kPortable:
      return true;
  }
  return false;
}

X25519Backend FastestX25519() { return *std::find_if(kBySpeed, std::end(kBySpeed), RunsHere); }

absl::StatusOr<X25519Backend> ParseX25519Backend(absl::string_view name) {
  if (name == "auto") return FastestX25519();
  std::string accepted = "auto";
  for (X25519Backend backend : kBySpeed) {
    if (name == ToString(backend)) {
      if (RunsHere(backend)) return backend;
      return absl::FailedPreconditionError(
          absl::StrCat("X25519 back end ", name, ": this CPU lacks its instructions"));
    }
    absl::StrAppend(&accepted, ", ", ToString(backend));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("X25519 back end ", name, ": no such (accepted: ", accepted, ")"));
}

void X25519Batch(X25519Backend backend, const Secret<kKeyBytes>& scalar,
                 std::span<const uint8_t* const> points, std::span<Secret<kKeyBytes>> shared,
                 std::span<bool> is_secret) {
  const Secret<kKeyBytes>* const scalars[] = {&scalar};
  Multiply(backend, scalars, points, shared, is_secret);
}

void X25519BatchEach(X25519Backend backend, std::span<const Secret<kKeyBytes>* const> scalars,
                     std::span<const uint8_t* const> points, std::span<Secret<kKeyBytes>> shared,
                     std::span<bool> is_secret) {
  Multiply(backend, scalars, points, shared, is_secret);
}

}  // namespace wicket::crypto
