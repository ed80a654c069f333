#include "base/tai64n.h"

namespace wicket {
namespace {

constexpr uint64_t kEpoch = 0x400000000000000aULL;  // 1970-01-01T00:00:10 TAI
constexpr uint64_t kLastSecond = 0x4000000000000000ULL + 18'446'744'073ULL;  // year 2554

}  // namespace

Tai64n ToTai64n(absl::Time time) {
  const absl::Duration since_epoch = time - absl::UnixEpoch();
  absl::Duration rest;
  const int64_t whole_s = absl::IDivDuration(since_epoch, absl::Seconds(1), &rest);
  const uint64_t seconds = kEpoch + static_cast<uint64_t>(whole_s);
  const auto nanos = static_cast<uint32_t>(absl::ToInt64Nanoseconds(rest));
  Tai64n stamp;
  for (int i = 0; i < 8; ++i)
    stamp[static_cast<size_t>(i)] = static_cast<uint8_t>(seconds >> (56 - 8 * i));
  for (int i = 0; i < 4; ++i)
    stamp[static_cast<size_t>(8 + i)] = static_cast<uint8_t>(nanos >> (24 - 8 * i));
  return stamp;
}

absl::Time FromTai64n(const Tai64n& stamp) {
  uint64_t seconds = 0;
  uint32_t nanos = 0;
  for (size_t i = 0; i < 8; ++i) seconds = (seconds << 8) | stamp[i];
  for (size_t i = 8; i < 12; ++i) nanos = (nanos << 8) | stamp[i];
  if (seconds < kEpoch) return absl::InfinitePast();
  if (seconds > kLastSecond) return absl::InfiniteFuture();
  return absl::FromUnixSeconds(static_cast<int64_t>(seconds - kEpoch)) + absl::Nanoseconds(nanos);
}

}  // namespace wicket
