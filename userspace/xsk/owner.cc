#include "xsk/owner.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/fd.h"
#include "xdp/steer_abi.h"
#include "xsk/hook.h"
#include "xsk/pins.h"

namespace wicket::xsk {
namespace {

constexpr uint64_t kSilent_ns = 3'000'000'000;

// Returns: the time of the latest heartbeat, which every version has first in its steer_shard.
uint64_t LatestBeat(int shards_fd, const MapFacts& facts) {
  uint64_t latest_ns = 0;
  std::vector<uint8_t> value(facts.value_bytes);
  for (uint32_t slot = 0; slot < facts.entries_max; ++slot) {
    uint64_t beat_ns;
    if (value.size() < sizeof(beat_ns) ||
        bpf_map_lookup_elem(shards_fd, &slot, value.data()) != 0) {
      break;
    }
    memcpy(&beat_ns, value.data(), sizeof(beat_ns));
    latest_ns = std::max(latest_ns, beat_ns);
  }
  return latest_ns;
}

bool AnyOf(const std::set<uint32_t>& some, const std::set<uint32_t>& others) {
  return std::any_of(some.begin(), some.end(), [&](uint32_t id) { return others.count(id) > 0; });
}

}  // namespace

Owner OwnerOf(const std::set<uint32_t>& map_ids) {
  Owner owner;
  uint64_t beat_ns = 0;
  for (uint32_t id : map_ids) {
    const Fd map(bpf_map_get_fd_by_id(id));
    if (!map.valid()) continue;
    const MapFacts facts = InspectMap(map.get());
    const uint32_t zero = 0;
    steer_owner value{};
    if (facts.name == "steer_shards") {
      beat_ns = LatestBeat(map.get(), facts);
    } else if (facts.name == "steer_owner" && facts.value_bytes == sizeof(value) &&
               bpf_map_lookup_elem(map.get(), &zero, &value) == 0) {
      owner.pin_dir.assign(value.pin_dir, strnlen(value.pin_dir, sizeof(value.pin_dir)));
      owner.process = value.process;
    }
  }
  if (!owner.pin_dir.empty() && AnyOf(map_ids, MapsServed(owner.pin_dir))) {
    owner.lives = !LockPinDir(owner.pin_dir).valid() && errno == EWOULDBLOCK;
  } else {
    owner.lives = SteadyNanos() - std::min(beat_ns, SteadyNanos()) < kSilent_ns;
  }
  return owner;
}

uint32_t ProcessOf(const std::string& pin_dir) {
  const Fd map(bpf_obj_get(MapPin(pin_dir, "steer_owner").c_str()));
  const uint32_t zero = 0;
  steer_owner value{};
  if (!map.valid() || bpf_map_lookup_elem(map.get(), &zero, &value) != 0) return 0;
  return value.process;
}

std::string ToString(const Owner& owner) {
  if (owner.pin_dir.empty()) return "a gateway of an older version";
  return absl::StrCat("the gateway with pin_dir ", owner.pin_dir, " (process ", owner.process, ")");
}

absl::Status WriteOwner(int owner_fd, const std::string& pin_dir) {
  const uint32_t zero = 0;
  steer_owner value{};
  memcpy(value.pin_dir, pin_dir.data(), std::min(pin_dir.size(), sizeof(value.pin_dir) - 1));
  value.process = static_cast<uint32_t>(getpid());
  if (bpf_map_update_elem(owner_fd, &zero, &value, BPF_ANY) != 0) {
    return ErrnoStatus(errno, "bpf_map_update(steer_owner)");
  }
  return absl::OkStatus();
}

}  // namespace wicket::xsk
