#include "xsk/steering.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/curve25519.h"
#include "xdp/blake2s.h"
#include "xdp/steer.skel.h"
#include "xdp/xchacha20poly1305.h"
#include "xsk/hook.h"
#include "xsk/pins.h"

namespace wicket::xsk {
namespace {

// A gateway binds its name to its program within milliseconds of the attach.
constexpr absl::Duration kNameless = absl::Seconds(2);
constexpr size_t kShardBytes = STEER_SLOTS_MAX * sizeof(steer_shard);
constexpr size_t kSketchBytes = STEER_SKETCH_WORDS * sizeof(uint64_t);
static_assert(sizeof(std::atomic<uint64_t>) == sizeof(uint64_t));

using Skeleton = std::unique_ptr<steer_bpf, decltype(&steer_bpf__destroy)>;

absl::StatusOr<Skeleton> OpenSkeleton(const std::string& pin_dir) {
  Skeleton skeleton(steer_bpf__open(), steer_bpf__destroy);
  if (!skeleton) return ErrnoStatus(errno, "steer_bpf__open()");
  bpf_map* map;
  bpf_object__for_each_map(map, skeleton->obj) {
    if (bpf_map__is_internal(map)) continue;  // .rodata and friends
    const std::string path = MapPin(pin_dir, bpf_map__name(map));
    if (int error = bpf_map__set_pin_path(map, path.c_str())) {
      return ErrnoStatus(-error, absl::StrCat("bpf_map__set_pin_path(", path, ")"));
    }
  }
  return skeleton;
}

// BLAKE2s-128 keyed with 32 bytes, the key's block absorbed. [RFC 7693 2.9]
void AbsorbKey(const uint8_t* key, uint32_t state[8]) {
  uint32_t block[16] = {};
  memcpy(block, key, BLAKE2S_KEY_BYTES_MAX);
  blake2s_begin(state, 16, BLAKE2S_KEY_BYTES_MAX);
  blake2s_compress(state, block, BLAKE2S_BLOCK_BYTES, 0);
  explicit_bzero(block, sizeof(block));
}

}  // namespace

steer_device DeviceOf(const Service& service) {
  steer_device device{};
  device.device = service.device;
  AbsorbKey(service.mac1_key.data(), device.mac1_state);
  crypto::FillRandom(reinterpret_cast<uint8_t*>(device.cookie_prefix),
                     sizeof(device.cookie_prefix));
  uint32_t key[8];
  memcpy(key, service.cookie_key.data(), sizeof(key));
  hchacha20(device.cookie_subkey, key, device.cookie_prefix);
  return device;
}

std::map<std::string, uint64_t> NamedCounters(const SteerCounters& counters) {
  return {
#define WICKET_STEER_NAMED(name, action, text, help) {text, counters[STEER_COUNT_##name]},
      STEER_COUNTS(WICKET_STEER_NAMED)
#undef WICKET_STEER_NAMED
  };
}

absl::StatusOr<std::unique_ptr<Steering>> Steering::Open(const std::string& pin_dir) {
  QuietLibraries();
  std::unique_ptr<Steering> steering(new Steering(pin_dir));
  WICKET_ASSIGN_OR_RETURN(steering->pin_dir_lock_, ClaimPinDir(pin_dir));
  WICKET_RETURN_IF_ERROR(steering->OpenMaps(/*create=*/true));
  WICKET_RETURN_IF_ERROR(WriteOwner(steering->maps_.owner.get(), pin_dir));
  // No shard knows the secrets of an earlier process.
  const steer_secret none{};
  for (uint32_t which : {0u, 1u}) {
    bpf_map_update_elem(steering->maps_.secrets.get(), &which, &none, BPF_ANY);
  }
  uint32_t ifindex;
  while (bpf_map_get_next_key(steering->maps_.nics.get(), nullptr, &ifindex) == 0) {
    WICKET_RETURN_IF_ERROR(steering->ForgetNic(static_cast<int>(ifindex)));
  }
  return steering;
}

absl::StatusOr<std::unique_ptr<Steering>> Steering::OpenReadOnly(const std::string& pin_dir) {
  QuietLibraries();
  std::unique_ptr<Steering> steering(new Steering(pin_dir));
  WICKET_RETURN_IF_ERROR(steering->OpenMaps(/*create=*/false));
  return steering;
}

void Steering::Unmap::operator()(void* words) const { munmap(words, bytes); }

absl::StatusOr<Steering::Mapping> Steering::Map(const Fd& map, const char* name, size_t bytes) {
  void* words = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, map.get(), 0);
  if (words == MAP_FAILED) return ErrnoStatus(errno, absl::StrCat("mmap(", name, ")"));
  return Mapping(words, Unmap{bytes});
}

absl::Status Steering::OpenMaps(bool create) {
  if (create) {
    // Loading makes the maps that are missing and pins them.
    WICKET_ASSIGN_OR_RETURN(Skeleton skeleton, OpenSkeleton(pin_dir_));
    if (int error = steer_bpf__load(skeleton.get())) {
      return ErrnoStatus(-error, "bpf(BPF_PROG_LOAD, steer)", CapabilityHint(-error));
    }
    // The program on a hook is opened by its id, which takes more than CAP_BPF.
    const uint32_t id = Inspect(bpf_program__fd(skeleton->progs.steer)).id;
    if (const Fd by_id(bpf_prog_get_fd_by_id(id)); !by_id.valid()) {
      return ErrnoStatus(errno, "bpf(BPF_PROG_GET_FD_BY_ID)", "needs CAP_SYS_ADMIN");
    }
  }
  Fd flows;
  const std::pair<const char*, Fd*> maps[] = {
      {"steer_served", &maps_.served},   {"steer_nics", &maps_.nics},
      {"steer_sockets", &maps_.sockets}, {"steer_shards", &maps_.shards},
      {"steer_flows", &flows},           {"steer_secrets", &maps_.secrets},
      {"steer_sketch", &maps_.sketch},   {"steer_counters", &maps_.counters},
      {"steer_owner", &maps_.owner}};
  for (const auto& [name, fd] : maps) {
    const std::string path = MapPin(pin_dir_, name);
    *fd = Fd(bpf_obj_get(path.c_str()));
    if (!fd->valid()) {
      return ErrnoStatus(errno, absl::StrCat("bpf_obj_get(", path, ")"), CapabilityHint(errno));
    }
  }
  flows_ = Flows(std::move(flows));
  if (!create) return absl::OkStatus();
  WICKET_ASSIGN_OR_RETURN(shard_words_, Map(maps_.shards, "steer_shards", kShardBytes));
  WICKET_ASSIGN_OR_RETURN(sketch_words_, Map(maps_.sketch, "steer_sketch", kSketchBytes));
  return absl::OkStatus();
}

absl::StatusOr<Steering::Predecessors> Steering::FindPredecessors(const std::string& nic,
                                                                  const Hook& hook) const {
  Predecessors found{.programs = hook.ThatUse(MapsServed(pin_dir_)), .gone = {}};
  for (const Hook::Steer& other : hook.steers) {
    if (std::count(found.programs.begin(), found.programs.end(), &other) > 0) continue;
    Owner owner = OwnerOf(other.facts.map_ids);
    const absl::Duration age = InstantNow().up - other.facts.loaded;
    const bool starts = owner.pin_dir.empty() && age >= absl::ZeroDuration() && age < kNameless;
    if (!owner.lives && !starts) {
      found.programs.push_back(&other);
      found.gone.push_back(std::move(owner));
    } else {
      return absl::FailedPreconditionError(
          absl::StrCat("NIC ", nic, ": ", starts ? "another gateway that starts" : ToString(owner),
                       " serves it; nothing was changed (stop that gateway, or name another NIC)"));
    }
  }
  return found;
}

absl::StatusOr<Attachment> Steering::Attach(const std::string& nic, XdpMode mode) {
  const std::lock_guard lock(hooks_);
  const auto ifindex = static_cast<int>(if_nametoindex(nic.c_str()));
  if (ifindex == 0) return ErrnoStatus(errno, absl::StrCat("if_nametoindex(", nic, ")"));
  const Hook before = ReadHook(ifindex);
  WICKET_ASSIGN_OR_RETURN(const Predecessors replaced, FindPredecessors(nic, before));
  WICKET_ASSIGN_OR_RETURN(Skeleton skeleton, OpenSkeleton(pin_dir_));
  if (const absl::Status taken = TakeHook(nic, ifindex, before, replaced.programs, mode,
                                          maps_.served.get(), skeleton.get());
      !taken.ok()) {
    // Another gateway may have been quicker; then it is the one to name.
    WICKET_RETURN_IF_ERROR(FindPredecessors(nic, ReadHook(ifindex)).status());
    return taken;
  }
  for (const Owner& owner : replaced.gone) {
    Log(LogLevel::kWarning, nic, ": replaced the program of ", ToString(owner), ", which is gone");
  }
  const Hook after = ReadHook(ifindex);
  const auto ours = after.ThatUse({InspectMap(maps_.served.get()).id});
  if (ours.empty()) {
    return absl::AbortedError(absl::StrCat("NIC ", nic, ": somebody replaced the program at once"));
  }
  const Fd program(bpf_prog_get_fd_by_id(ours.front()->facts.id));
  if (bpf_prog_bind_map(program.get(), maps_.owner.get(), nullptr) != 0) {
    return ErrnoStatus(errno, "bpf(BPF_PROG_BIND_MAP, steer_owner)");
  }
  // Of two that came at once at least one looks after the other is there, and gives way.
  const Hook both = ReadHook(ifindex);
  if (const absl::Status alone = FindPredecessors(nic, both).status(); !alone.ok()) {
    for (const Hook::Steer* mine : both.ThatUse({InspectMap(maps_.served.get()).id})) {
      ReleaseHook(nic, ifindex, both, *mine).IgnoreError();
    }
    return alone;
  }
  const std::string pin = ProgramPin(pin_dir_, ifindex);
  unlink(pin.c_str());
  bpf_obj_pin(program.get(), pin.c_str());  // for bpftool's eyes; the NIC holds the program
  const bool taken_over =
      replaced.programs.size() > replaced.gone.size() && after.mode == before.mode;
  return Attachment{ifindex, after.mode, after.shared, taken_over};
}

absl::Status Steering::Serve(const std::vector<Service>& services) {
  std::set<uint16_t> wanted;
  for (const Service& service : services) {
    wanted.insert(service.port);
    // A service that stays is not written again: the entry that replaces another could take memory
    // that the program still reads for a third.
    if (const auto known = services_.find(service.port);
        known != services_.end() && known->second == service) {
      continue;
    }
    const steer_service key{service.port};
    const steer_device value = DeviceOf(service);
    if (bpf_map_update_elem(maps_.served.get(), &key, &value, BPF_ANY) != 0) {
      return ErrnoStatus(errno,
                         absl::StrCat("bpf_map_update(steer_served, port ", service.port, ")"));
    }
    services_[service.port] = service;
  }
  std::vector<uint16_t> unwanted;
  steer_service key, next;
  const steer_service* previous = nullptr;
  while (bpf_map_get_next_key(maps_.served.get(), previous, &next) == 0) {
    if (!wanted.count(next.port)) unwanted.push_back(next.port);
    key = next;
    previous = &key;
  }
  for (uint16_t port : unwanted) {
    const steer_service stale{port};
    bpf_map_delete_elem(maps_.served.get(), &stale);
    services_.erase(port);
  }
  return absl::OkStatus();
}

absl::Status Steering::AddSecret(const Secret<32>& secret) {
  const uint32_t oldest = 1 - newest_secret_;
  steer_secret value{.born_ns = 0, .state = {}};
  AbsorbKey(secret.data(), value.state);
  // The program may read an entry while it is written. So the entry is whole before it is the
  // newest: a cookie made with half of it would never be accepted.
  int error = 0;
  for (const uint64_t born_ns : {uint64_t{0}, SteadyNanos()}) {
    value.born_ns = born_ns;
    if (error == 0) error = bpf_map_update_elem(maps_.secrets.get(), &oldest, &value, BPF_ANY);
  }
  explicit_bzero(&value, sizeof(value));
  if (error != 0) return ErrnoStatus(errno, "bpf_map_update(steer_secrets)");
  newest_secret_ = oldest;
  return absl::OkStatus();
}

uint64_t Steering::TakeSources() {
  std::atomic<uint64_t>* const words = Sketch();
  int set = 0;
  for (size_t i = 0; i < STEER_SKETCH_WORDS; ++i) set += std::popcount(words[i].exchange(0));
  constexpr double kBits = 8.0 * kSketchBytes;
  const double clear = std::max(kBits - set, 1.0);
  return static_cast<uint64_t>(std::lround(kBits * std::log(kBits / clear)));
}

bool Steering::Serves(int ifindex) const {
  const std::lock_guard lock(hooks_);
  return !ReadHook(ifindex).ThatUse({InspectMap(maps_.served.get()).id}).empty();
}

void Steering::ForgetOlder() {
  const std::lock_guard lock(hooks_);
  xsk::ForgetOlder(pin_dir_);
}

bool Steering::IsAttached(int ifindex) { return !ReadHook(ifindex).steers.empty(); }

absl::Status Steering::SetNic(int ifindex, uint32_t first_slot, uint32_t queues,
                              const std::array<uint8_t, 6>& mac, bool cookies_by_tx) {
  const auto key = static_cast<uint32_t>(ifindex);
  steer_nic value{};
  value.first_slot = first_slot;
  value.queues = queues;
  memcpy(value.mac, mac.data(), mac.size());
  value.cookies_by_tx = cookies_by_tx;
  if (bpf_map_update_elem(maps_.nics.get(), &key, &value, BPF_ANY) != 0) {
    return ErrnoStatus(errno, absl::StrCat("bpf_map_update(steer_nics, ifindex ", ifindex, ")"));
  }
  return absl::OkStatus();
}

absl::Status Steering::ForgetNic(int ifindex) {
  const auto key = static_cast<uint32_t>(ifindex);
  if (bpf_map_delete_elem(maps_.nics.get(), &key) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, absl::StrCat("bpf_map_delete(steer_nics, ifindex ", ifindex, ")"));
  }
  return absl::OkStatus();
}

absl::Status Steering::BindSocket(uint32_t slot, int socket_fd) {
  if (bpf_map_update_elem(maps_.sockets.get(), &slot, &socket_fd, BPF_ANY) != 0) {
    return ErrnoStatus(errno, absl::StrCat("bpf_map_update(steer_sockets, slot ", slot, ")"));
  }
  return absl::OkStatus();
}

ShardWords Steering::Shard(uint32_t slot) {
  auto* words = reinterpret_cast<std::atomic<uint64_t>*>(
      static_cast<steer_shard*>(shard_words_.get()) + slot);
  const auto at = [words](size_t offset) { return words + offset / sizeof(*words); };
  return {at(offsetof(steer_shard, beat_ns)), at(offsetof(steer_shard, load_until_ns)),
          at(offsetof(steer_shard, cookies_sent)), at(offsetof(steer_shard, cookie_interval_ns))};
}

SteerCounters Steering::ReadCounters() const {
  SteerCounters totals{};
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return totals;
  std::vector<uint64_t> values(static_cast<size_t>(cpus));
  for (uint32_t key = 0; key < STEER_COUNT_MAX; ++key) {
    if (bpf_map_lookup_elem(maps_.counters.get(), &key, values.data()) != 0) continue;
    for (uint64_t value : values) totals[key] += value;
  }
  return totals;
}

}  // namespace wicket::xsk
