#include "xsk/steering.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdarg.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <set>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "crypto/curve25519.h"
#include "xdp/blake2s.h"
#include "xdp/steer.skel.h"
#include "xdp/xchacha20poly1305.h"

namespace wicket::xsk {
namespace {

constexpr char kBpffs[] = "/sys/fs/bpf";
constexpr size_t kShardBytes = STEER_SLOTS_MAX * sizeof(steer_shard);
constexpr size_t kSketchBytes = STEER_SKETCH_WORDS * sizeof(uint64_t);
static_assert(sizeof(std::atomic<uint64_t>) == sizeof(uint64_t));

using Skeleton = std::unique_ptr<steer_bpf, decltype(&steer_bpf__destroy)>;

std::string MapDir(const std::string& pin_dir, int version = STEER_ABI_VERSION) {
  return absl::StrCat(pin_dir, "/v", version);
}

std::string ProgramPin(const std::string& pin_dir, int ifindex) {
  return absl::StrCat(MapDir(pin_dir), "/program-", ifindex);
}

// What the libraries say is for developers; what failed, we say ourselves.
int PrintLibbpf(libbpf_print_level level, const char* format, va_list args) {
  if (level != LIBBPF_WARN || !LogEnabled(LogLevel::kDebug)) return 0;
  char line[512];
  vsnprintf(line, sizeof(line), format, args);
  absl::string_view text(line);
  if (absl::EndsWith(text, "\n")) text.remove_suffix(1);
  Log(LogLevel::kDebug, "libbpf: ", text);
  return 0;
}

int PrintLibxdp(libxdp_print_level level, const char* format, va_list args) {
  return PrintLibbpf(level == LIBXDP_WARN ? LIBBPF_WARN : LIBBPF_DEBUG, format, args);
}

void QuietLibraries() {
  libbpf_set_print(PrintLibbpf);
  libxdp_set_print(PrintLibxdp);
}

bool OnBpffs(const std::string& path) {
  struct statfs info;
  return statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC;
}

// Where a folder for pins is to be made.
std::string ParentOf(const std::string& pin_dir) { return pin_dir.substr(0, pin_dir.rfind('/')); }

absl::Status MakePinDir(const std::string& pin_dir) {
  if (ParentOf(pin_dir) == kBpffs && !OnBpffs(kBpffs) &&
      mount("bpf", kBpffs, "bpf", 0, "mode=0700") != 0) {
    return ErrnoStatus(errno, absl::StrCat("mount(bpf, ", kBpffs, ")"));
  }
  WICKET_RETURN_IF_ERROR(Steering::CheckPinDir(pin_dir));
  for (const std::string& path : {pin_dir, MapDir(pin_dir)}) {
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, absl::StrCat("mkdir(", path, ")"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Skeleton> OpenSkeleton(const std::string& pin_dir) {
  Skeleton skeleton(steer_bpf__open(), steer_bpf__destroy);
  if (!skeleton) return ErrnoStatus(errno, "steer_bpf__open()");
  bpf_map* map;
  bpf_object__for_each_map(map, skeleton->obj) {
    if (bpf_map__is_internal(map)) continue;  // .rodata and friends
    const std::string path = absl::StrCat(MapDir(pin_dir), "/", bpf_map__name(map));
    if (int error = bpf_map__set_pin_path(map, path.c_str())) {
      return ErrnoStatus(-error, absl::StrCat("bpf_map__set_pin_path(", path, ")"));
    }
  }
  return skeleton;
}

// Programs of ours are those that use the maps pinned here, by this version or one before; other
// gateways have their own. Returns: the ids of those maps, up to `newest`; none with errno.
std::set<uint32_t> MapsServed(const std::string& pin_dir, int newest) {
  std::set<uint32_t> ids;
  for (int version = 1; version <= newest; ++version) {
    const Fd served(bpf_obj_get(absl::StrCat(MapDir(pin_dir, version), "/steer_served").c_str()));
    if (served.valid()) ids.insert(MapId(served.get()));
  }
  return ids;
}

// Returns: {interface, its hook} of each program of ours with one of these maps.
absl::StatusOr<std::map<std::string, Hook>> HooksThatUse(const std::set<uint32_t>& maps) {
  const std::unique_ptr<struct if_nameindex, decltype(&if_freenameindex)> interfaces(
      if_nameindex(), if_freenameindex);
  if (!interfaces) return ErrnoStatus(errno, "if_nameindex()");
  std::map<std::string, Hook> found;
  for (const struct if_nameindex* entry = interfaces.get(); entry->if_index != 0; ++entry) {
    Hook hook = ReadHook(static_cast<int>(entry->if_index));
    if (hook.ours.ours && std::any_of(maps.begin(), maps.end(), [&](uint32_t id) {
          return hook.ours.map_ids.count(id) > 0;
        })) {
      found.emplace(entry->if_name, std::move(hook));
    }
  }
  return found;
}

// Removes a folder of maps and programs.
void Unpin(const std::string& map_dir) {
  DIR* dir = opendir(map_dir.c_str());
  if (dir == nullptr) return;
  const absl::Cleanup close = [dir] { closedir(dir); };
  while (const dirent* entry = readdir(dir)) {
    if (entry->d_name[0] != '.') unlink(absl::StrCat(map_dir, "/", entry->d_name).c_str());
  }
  rmdir(map_dir.c_str());
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

absl::Status Steering::CheckPinDir(const std::string& pin_dir) {
  const std::string parent = ParentOf(pin_dir);
  if (parent == kBpffs || OnBpffs(parent)) return absl::OkStatus();
  const std::string where = absl::StrCat("pin_dir ", pin_dir, ": ", parent);
  const std::string hint =
      absl::StrCat("name a folder of a BPF file system, such as ", kBpffs, "/wicket");
  if (access(parent.c_str(), X_OK) != 0) return ErrnoStatus(errno, where, hint);
  return absl::FailedPreconditionError(
      absl::StrCat(where, " is not in a BPF file system (", hint, ")"));
}

absl::StatusOr<std::unique_ptr<Steering>> Steering::Open(const std::string& pin_dir) {
  QuietLibraries();
  WICKET_RETURN_IF_ERROR(MakePinDir(pin_dir));
  std::unique_ptr<Steering> steering(new Steering(pin_dir));
  steering->pin_dir_lock_ = Fd(open(pin_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!steering->pin_dir_lock_.valid() ||
      flock(steering->pin_dir_lock_.get(), LOCK_EX | LOCK_NB) != 0) {
    return ErrnoStatus(errno, absl::StrCat("flock(", pin_dir, ")"),
                       errno == EWOULDBLOCK
                           ? "another wicketd uses these pins; give this one its own pin_dir"
                           : "");
  }
  WICKET_RETURN_IF_ERROR(steering->OpenMaps(/*create=*/true));
  // Cookies of before are nobody's any more.
  const steer_secret none{};
  for (uint32_t which : {0u, 1u}) {
    bpf_map_update_elem(steering->secrets_.get(), &which, &none, BPF_ANY);
  }
  uint32_t ifindex;
  while (bpf_map_get_next_key(steering->nics_.get(), nullptr, &ifindex) == 0) {
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
    // Whose program is on a hook is asked for by its id, which takes more than CAP_BPF.
    const uint32_t id = Inspect(bpf_program__fd(skeleton->progs.steer)).id;
    if (const Fd by_id(bpf_prog_get_fd_by_id(id)); !by_id.valid()) {
      return ErrnoStatus(errno, "bpf(BPF_PROG_GET_FD_BY_ID)", "needs CAP_SYS_ADMIN");
    }
  }
  const std::pair<const char*, Fd*> maps[] = {
      {"steer_served", &served_}, {"steer_nics", &nics_},        {"steer_sockets", &sockets_},
      {"steer_shards", &shards_}, {"steer_flows", &flows_},      {"steer_secrets", &secrets_},
      {"steer_sketch", &sketch_}, {"steer_counters", &counters_}};
  for (const auto& [name, fd] : maps) {
    const std::string path = absl::StrCat(MapDir(pin_dir_), "/", name);
    *fd = Fd(bpf_obj_get(path.c_str()));
    if (!fd->valid()) {
      return ErrnoStatus(errno, absl::StrCat("bpf_obj_get(", path, ")"), CapabilityHint(errno));
    }
  }
  if (!create) return absl::OkStatus();
  WICKET_ASSIGN_OR_RETURN(shard_words_, Map(shards_, "steer_shards", kShardBytes));
  WICKET_ASSIGN_OR_RETURN(sketch_words_, Map(sketch_, "steer_sketch", kSketchBytes));
  return absl::OkStatus();
}

absl::StatusOr<Attachment> Steering::Attach(const std::string& nic, XdpMode mode) {
  const auto ifindex = static_cast<int>(if_nametoindex(nic.c_str()));
  if (ifindex == 0) return ErrnoStatus(errno, absl::StrCat("if_nametoindex(", nic, ")"));
  const Hook before = ReadHook(ifindex);
  WICKET_ASSIGN_OR_RETURN(Skeleton skeleton, OpenSkeleton(pin_dir_));
  WICKET_RETURN_IF_ERROR(TakeHook(nic, ifindex, before, mode, served_.get(), skeleton.get()));
  const Hook after = ReadHook(ifindex);
  const std::string pin = ProgramPin(pin_dir_, ifindex);
  unlink(pin.c_str());
  if (const Fd program(bpf_prog_get_fd_by_id(after.ours.id)); program.valid()) {
    bpf_obj_pin(program.get(), pin.c_str());  // for bpftool's eyes; the NIC holds the program
  }
  const bool taken_over = before.ours.ours && after.mode == before.mode;
  return Attachment{ifindex, after.mode, after.shared, taken_over};
}

void Steering::ForgetOlder() {
  const auto in_use = HooksThatUse(MapsServed(pin_dir_, STEER_ABI_VERSION - 1));
  if (!in_use.ok() || !in_use->empty()) return;
  for (int version = 1; version < STEER_ABI_VERSION; ++version) Unpin(MapDir(pin_dir_, version));
}

absl::StatusOr<std::vector<std::string>> Steering::DetachAll(const std::string& pin_dir) {
  QuietLibraries();
  const Fd lock(open(pin_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.valid() && flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return ErrnoStatus(errno, absl::StrCat("flock(", pin_dir, ")"),
                       "a running wicketd uses these pins; stop it first");
  }
  std::vector<std::string> detached;
  const std::set<uint32_t> ours = MapsServed(pin_dir, STEER_ABI_VERSION);
  if (ours.empty()) {
    return ErrnoStatus(errno, absl::StrCat("bpf_obj_get(", MapDir(pin_dir), "/steer_served)"),
                       "nothing of ours is pinned there; a gateway with a pin_dir of its own is "
                       "detached with its --config");
  }
  WICKET_ASSIGN_OR_RETURN(const auto hooks, HooksThatUse(ours));
  for (const auto& [nic, hook] : hooks) {
    WICKET_RETURN_IF_ERROR(ReleaseHook(nic, static_cast<int>(if_nametoindex(nic.c_str())), hook));
    detached.push_back(nic);
  }
  for (int version = 1; version <= STEER_ABI_VERSION; ++version) Unpin(MapDir(pin_dir, version));
  rmdir(pin_dir.c_str());
  return detached;
}

absl::Status Steering::Serve(const std::vector<Service>& services) {
  std::set<uint16_t> wanted;
  for (const Service& service : services) {
    wanted.insert(service.port);
    // What stays is not written again: the entry that replaces another could be of memory that the
    // program still reads for a third.
    if (const auto known = services_.find(service.port);
        known != services_.end() && known->second == service) {
      continue;
    }
    const steer_service key{service.port};
    const steer_device value = DeviceOf(service);
    if (bpf_map_update_elem(served_.get(), &key, &value, BPF_ANY) != 0) {
      return ErrnoStatus(errno,
                         absl::StrCat("bpf_map_update(steer_served, port ", service.port, ")"));
    }
    services_[service.port] = service;
  }
  std::vector<uint16_t> unwanted;
  steer_service key, next;
  const steer_service* previous = nullptr;
  while (bpf_map_get_next_key(served_.get(), previous, &next) == 0) {
    if (!wanted.count(next.port)) unwanted.push_back(next.port);
    key = next;
    previous = &key;
  }
  for (uint16_t port : unwanted) {
    const steer_service stale{port};
    bpf_map_delete_elem(served_.get(), &stale);
    services_.erase(port);
  }
  return absl::OkStatus();
}

absl::Status Steering::AddSecret(const Secret<32>& secret) {
  const uint32_t oldest = 1 - newest_secret_;
  steer_secret value{.born_ns = 0, .state = {}};
  AbsorbKey(secret.data(), value.state);
  // The program may read while an entry is written. So it is whole before it is the newest, or it
  // would make cookies for a moment that nobody takes.
  int error = 0;
  for (const uint64_t born_ns : {uint64_t{0}, SteadyNanos()}) {
    value.born_ns = born_ns;
    if (error == 0) error = bpf_map_update_elem(secrets_.get(), &oldest, &value, BPF_ANY);
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

bool Steering::IsAttached(int ifindex) { return ReadHook(ifindex).ours.ours; }

std::array<uint8_t, 6> Steering::MacOf(int ifindex) {
  std::array<uint8_t, 6> mac{};
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  if (fd.valid() && if_indextoname(static_cast<unsigned>(ifindex), request.ifr_name) != nullptr &&
      ioctl(fd.get(), SIOCGIFHWADDR, &request) == 0) {
    memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
  }
  return mac;
}

absl::Status Steering::SetNic(int ifindex, uint32_t first_slot, uint32_t queues,
                              const std::array<uint8_t, 6>& mac, bool cookies_by_tx) {
  const auto key = static_cast<uint32_t>(ifindex);
  steer_nic value{};
  value.first_slot = first_slot;
  value.queues = queues;
  memcpy(value.mac, mac.data(), mac.size());
  value.cookies_by_tx = cookies_by_tx;
  if (bpf_map_update_elem(nics_.get(), &key, &value, BPF_ANY) != 0) {
    return ErrnoStatus(errno, absl::StrCat("bpf_map_update(steer_nics, ifindex ", ifindex, ")"));
  }
  return absl::OkStatus();
}

absl::Status Steering::ForgetNic(int ifindex) {
  const auto key = static_cast<uint32_t>(ifindex);
  if (bpf_map_delete_elem(nics_.get(), &key) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, absl::StrCat("bpf_map_delete(steer_nics, ifindex ", ifindex, ")"));
  }
  return absl::OkStatus();
}

absl::Status Steering::BindSocket(uint32_t slot, int socket_fd) {
  if (bpf_map_update_elem(sockets_.get(), &slot, &socket_fd, BPF_ANY) != 0) {
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

namespace {

steer_flow FlowOf(const Endpoint& source, uint16_t port) {
  steer_flow flow{};
  memcpy(flow.address_be, source.address.Mapped().data(), sizeof(flow.address_be));
  flow.source_port = source.port;
  flow.port = port;
  return flow;
}

}  // namespace

absl::Status Steering::NoteFlow(const Endpoint& source, uint16_t port) {
  const steer_flow key = FlowOf(source, port);
  const uint64_t now_ns = SteadyNanos();
  // Its history begins anew: a client whom the kernel asked for a cookie, and who has it now,
  // is to pass with it, and not to be asked for ours.
  steer_flow_state value{
      .last_initiation_ns = 0, .history_ns = now_ns, .forgotten = 0, .padding = 0};
  steer_flow_state before;
  if (bpf_map_lookup_elem(flows_.get(), &key, &before) == 0 &&
      now_ns - before.history_ns < STEER_HISTORY_NS) {
    value.last_initiation_ns = before.last_initiation_ns;
    value.history_ns = before.history_ns;
  }
  if (bpf_map_update_elem(flows_.get(), &key, &value, BPF_ANY) != 0) {
    return ErrnoStatus(errno, "bpf_map_update(steer_flows)");
  }
  return absl::OkStatus();
}

absl::Status Steering::ForgetFlow(const Endpoint& source, uint16_t port) {
  const steer_flow key = FlowOf(source, port);
  steer_flow_state value;
  if (bpf_map_lookup_elem(flows_.get(), &key, &value) != 0) return absl::OkStatus();
  value.forgotten = 1;
  if (bpf_map_update_elem(flows_.get(), &key, &value, BPF_EXIST) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, "bpf_map_update(steer_flows)");
  }
  return absl::OkStatus();
}

SteerCounters Steering::ReadCounters() const {
  SteerCounters totals{};
  const int cpus = libbpf_num_possible_cpus();
  if (cpus <= 0) return totals;
  std::vector<uint64_t> values(static_cast<size_t>(cpus));
  for (uint32_t key = 0; key < STEER_COUNT_MAX; ++key) {
    if (bpf_map_lookup_elem(counters_.get(), &key, values.data()) != 0) continue;
    for (uint64_t value : values) totals[key] += value;
  }
  return totals;
}

}  // namespace wicket::xsk
