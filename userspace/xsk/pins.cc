#include "xsk/pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <stdarg.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xdp/libxdp.h>

#include <map>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "xdp/steer_abi.h"
#include "xsk/hook.h"
#include "xsk/owner.h"

namespace wicket::xsk {
namespace {

constexpr char kBpffs[] = "/sys/fs/bpf";

std::string MapDir(const std::string& pin_dir, int version = STEER_ABI_VERSION) {
  return absl::StrCat(pin_dir, "/v", version);
}

// Where the folder is to be made.
std::string ParentOf(const std::string& pin_dir) { return pin_dir.substr(0, pin_dir.rfind('/')); }

bool OnBpffs(const std::string& path) {
  struct statfs info;
  return statfs(path.c_str(), &info) == 0 && info.f_type == BPF_FS_MAGIC;
}

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

// Returns: the versions that have a folder of maps; none, and errno, when `pin_dir` cannot be read.
std::vector<int> Versions(const std::string& pin_dir) {
  std::vector<int> versions;
  DIR* dir = opendir(pin_dir.c_str());
  if (dir == nullptr) return versions;
  const absl::Cleanup close = [dir] { closedir(dir); };
  while (const dirent* entry = readdir(dir)) {
    int version;
    if (entry->d_name[0] == 'v' && absl::SimpleAtoi(entry->d_name + 1, &version)) {
      versions.push_back(version);
    }
  }
  return versions;
}

uint32_t IdOfServed(const std::string& pin_dir, int version) {
  const Fd served(bpf_obj_get(absl::StrCat(MapDir(pin_dir, version), "/steer_served").c_str()));
  return served.valid() ? InspectMap(served.get()).id : 0;
}

// Returns: {interface, its hook} of those with a program that uses one of these maps.
absl::StatusOr<std::map<std::string, Hook>> HooksThatUse(const std::set<uint32_t>& maps) {
  const std::unique_ptr<struct if_nameindex, decltype(&if_freenameindex)> interfaces(
      if_nameindex(), if_freenameindex);
  if (!interfaces) return ErrnoStatus(errno, "if_nameindex()");
  std::map<std::string, Hook> found;
  for (const struct if_nameindex* entry = interfaces.get(); entry->if_index != 0; ++entry) {
    Hook hook = ReadHook(static_cast<int>(entry->if_index));
    if (!hook.ThatUse(maps).empty()) found.emplace(entry->if_name, std::move(hook));
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

}  // namespace

void QuietLibraries() {
  libbpf_set_print(PrintLibbpf);
  libxdp_set_print(PrintLibxdp);
}

std::string MapPin(const std::string& pin_dir, absl::string_view map) {
  return absl::StrCat(MapDir(pin_dir), "/", map);
}

std::string ProgramPin(const std::string& pin_dir, int ifindex) {
  return absl::StrCat(MapDir(pin_dir), "/program-", ifindex);
}

absl::Status CheckPinDir(const std::string& pin_dir) {
  const std::string parent = ParentOf(pin_dir);
  if (parent == kBpffs || OnBpffs(parent)) return absl::OkStatus();
  const std::string where = absl::StrCat("pin_dir ", pin_dir, ": ", parent);
  const std::string hint =
      absl::StrCat("name a folder of a BPF file system, such as ", kBpffs, "/wicket");
  if (access(parent.c_str(), X_OK) != 0) return ErrnoStatus(errno, where, hint);
  return absl::FailedPreconditionError(
      absl::StrCat(where, " is not in a BPF file system (", hint, ")"));
}

absl::StatusOr<Fd> ClaimPinDir(const std::string& pin_dir) {
  if (ParentOf(pin_dir) == kBpffs && !OnBpffs(kBpffs) &&
      mount("bpf", kBpffs, "bpf", 0, "mode=0700") != 0) {
    return ErrnoStatus(errno, absl::StrCat("mount(bpf, ", kBpffs, ")"));
  }
  WICKET_RETURN_IF_ERROR(CheckPinDir(pin_dir));
  for (const std::string& path : {pin_dir, MapDir(pin_dir)}) {
    if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, absl::StrCat("mkdir(", path, ")"));
    }
  }
  Fd lock = LockPinDir(pin_dir);
  if (lock.valid()) return lock;
  if (errno != EWOULDBLOCK) return ErrnoStatus(errno, absl::StrCat("flock(", pin_dir, ")"));
  const uint32_t process = ProcessOf(pin_dir);
  return absl::UnavailableError(
      absl::StrCat("pin_dir ", pin_dir, ": another wicketd",
                   process == 0 ? "" : absl::StrCat(", process ", process, ","),
                   " uses these pins (stop it, or give this one its own pin_dir)"));
}

Fd LockPinDir(const std::string& pin_dir) {
  Fd lock(open(pin_dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (lock.valid() && flock(lock.get(), LOCK_EX | LOCK_NB) != 0) lock.Close();
  return lock;
}

std::set<uint32_t> MapsServed(const std::string& pin_dir) {
  std::set<uint32_t> ids;
  errno = 0;
  for (int version : Versions(pin_dir)) {
    if (const uint32_t id = IdOfServed(pin_dir, version)) ids.insert(id);
  }
  if (ids.empty() && errno == 0) errno = ENOENT;
  return ids;
}

void ForgetOlder(const std::string& pin_dir) {
  std::set<uint32_t> maps;
  std::vector<int> older = Versions(pin_dir);
  std::erase_if(older, [](int version) { return version >= STEER_ABI_VERSION; });
  if (older.empty()) return;
  for (int version : older) maps.insert(IdOfServed(pin_dir, version));
  const auto in_use = HooksThatUse(maps);
  if (!in_use.ok() || !in_use->empty()) return;
  for (int version : older) Unpin(MapDir(pin_dir, version));
}

absl::StatusOr<std::vector<std::string>> DetachAll(const std::string& pin_dir) {
  QuietLibraries();
  const Fd lock = LockPinDir(pin_dir);
  if (!lock.valid() && errno == EWOULDBLOCK) {
    return ErrnoStatus(errno, absl::StrCat("flock(", pin_dir, ")"),
                       "a running wicketd uses these pins; stop it first");
  }
  std::vector<std::string> detached;
  const std::set<uint32_t> ours = MapsServed(pin_dir);
  if (ours.empty()) {
    return ErrnoStatus(errno, absl::StrCat("bpf_obj_get(", MapPin(pin_dir, "steer_served"), ")"),
                       "nothing of ours is pinned there; a gateway with a pin_dir of its own is "
                       "detached with its --config");
  }
  WICKET_ASSIGN_OR_RETURN(const auto hooks, HooksThatUse(ours));
  for (const auto& [nic, hook] : hooks) {
    const auto ifindex = static_cast<int>(if_nametoindex(nic.c_str()));
    for (const Hook::Steer* program : hook.ThatUse(ours)) {
      WICKET_RETURN_IF_ERROR(ReleaseHook(nic, ifindex, hook, *program));
    }
    detached.push_back(nic);
  }
  for (int version : Versions(pin_dir)) Unpin(MapDir(pin_dir, version));
  rmdir(pin_dir.c_str());
  return detached;
}

}  // namespace wicket::xsk
