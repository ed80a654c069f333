#include "gateway/machine.h"

#include <linux/ethtool.h>
#include <linux/ipv6_route.h>
#include <linux/if_vlan.h>
#include <linux/magic.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/fd.h"
#include "store/store.h"
#include "wgdev/device.h"
#include "wgdev/uapi.h"
#include "xsk/hook.h"
#include "xsk/interface.h"

namespace wicket::gateway {
namespace {

std::string TextOf(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// One question to the driver of an interface.
class Interface {
 public:
  explicit Interface(const std::string& name) : fd_(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    absl::SNPrintF(request_.ifr_name, sizeof(request_.ifr_name), "%s", name);
  }

  bool Up() {
    return ioctl(fd_.get(), SIOCGIFFLAGS, &request_) == 0 && (request_.ifr_flags & IFF_UP) != 0;
  }
  uint32_t Mtu() {
    if (ioctl(fd_.get(), SIOCGIFMTU, &request_) != 0) return 0;
    return static_cast<uint32_t>(request_.ifr_mtu);
  }
  std::string Driver() {
    ethtool_drvinfo info{};
    info.cmd = ETHTOOL_GDRVINFO;
    return Ask(&info) ? info.driver : "";
  }
  // Whether the ports of UDP count where RSS spreads packets over queues.
  std::optional<bool> SpreadsPorts() {
    ethtool_rxnfc flow{};
    flow.cmd = ETHTOOL_GRXFH;
    flow.flow_type = UDP_V4_FLOW;
    if (!Ask(&flow) || flow.data == 0) return std::nullopt;
    return (flow.data & (RXH_L4_B_0_1 | RXH_L4_B_2_3)) != 0;
  }
  // True also where the driver does not tell.
  bool ChecksSums() {
    ethtool_value sums{ETHTOOL_GRXCSUM, 0};
    return !Ask(&sums) || sums.data != 0;
  }
  bool Has(uint32_t flag) {
    ethtool_value flags{ETHTOOL_GFLAGS, 0};
    return Ask(&flags) && (flags.data & flag) != 0;
  }

 private:
  bool Ask(void* question) {
    request_.ifr_data = static_cast<char*>(question);
    return fd_.valid() && ioctl(fd_.get(), SIOCETHTOOL, &request_) == 0;
  }

  Fd fd_;
  ifreq request_{};
};

// The interrupts of a NIC's own device, and how many CPUs take them.
void LookAtInterrupts(const std::string& nic, report::NicFacts* facts) {
  std::set<std::string> cpus;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(
           absl::StrCat("/sys/class/net/", nic, "/device/msi_irqs"), none)) {
    const std::string cpu = TextOf(
        absl::StrCat("/proc/irq/", entry.path().filename().string(), "/effective_affinity_list"));
    if (cpu.empty()) continue;
    ++facts->irqs;
    cpus.insert(cpu);
  }
  facts->irq_cpus = static_cast<uint32_t>(cpus.size());
}

// /proc/net/vlan/config: "NAME | ID | NIC".
bool HasVlans(const std::string& nic) {
  for (absl::string_view line : absl::StrSplit(TextOf("/proc/thread-self/net/vlan/config"), '\n')) {
    const std::vector<std::string> fields =
        absl::StrSplit(line, absl::ByAnyChar("| "), absl::SkipEmpty());
    if (fields.size() == 3 && fields[2] == nic) return true;
  }
  return false;
}

bool HasStrictFilter(const std::string& nic) {
  const auto filter = [](const std::string& of) {
    int mode = 0;
    return absl::SimpleAtoi(TextOf(absl::StrCat("/proc/sys/net/ipv4/conf/", of, "/rp_filter")),
                            &mode)
               ? mode
               : 0;
  };
  return std::max(filter("all"), filter(nic)) == 1;  // the kernel takes the larger
}

report::NicFacts LookAtNic(const std::string& name, bool root) {
  report::NicFacts facts{.name = name};
  const int ifindex = wgdev::InterfaceIndex(name);
  facts.there = ifindex != 0;
  if (!facts.there) return facts;
  Interface interface(name);
  facts.up = interface.Up();
  facts.driver = interface.Driver();
  facts.wireguard =
      facts.driver == "wireguard" || access(wgdev::UapiSocketPath(name).c_str(), F_OK) == 0;
  facts.mtu = interface.Mtu();
  facts.queues = xsk::QueueCount(name);
  facts.spreads_ports = interface.SpreadsPorts();
  LookAtInterrupts(name, &facts);
  facts.takes_vlan_tags = interface.Has(ETH_FLAG_RXVLAN);
  facts.has_vlans = HasVlans(name);
  facts.merges_frames = interface.Has(ETH_FLAG_LRO);
  facts.checks_sums = interface.ChecksSums();
  facts.strict_rp_filter = HasStrictFilter(name);
  if (root) {
    const xsk::Hook hook = xsk::ReadHook(ifindex);
    if (hook.occupied && !hook.shared && hook.steers.empty()) facts.other_program = hook.main.name;
  }
  return facts;
}

// Whether a route for peers leads through the interface. With IPv4 that may be the connected one.
bool HasRoute(const std::string& device) {
  // Of a router each may have a million lines.
  std::ifstream ipv4("/proc/thread-self/net/route"), ipv6("/proc/thread-self/net/ipv6_route");
  std::string line;
  while (std::getline(ipv4, line)) {
    const std::vector<std::string> fields =
        absl::StrSplit(line, absl::ByAnyChar("\t "), absl::SkipEmpty());
    if (fields.size() > 2 && fields[0] == device) return true;
  }
  while (std::getline(ipv6, line)) {
    const std::vector<std::string> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
    // Of every interface there are routes to fe80::/64, ff00::/8 and its own addresses.
    uint32_t flags = 0;
    if (fields.size() != 10 || fields[9] != device || !absl::SimpleHexAtoi(fields[8], &flags) ||
        (flags & (RTF_LOCAL | RTF_ANYCAST)) != 0) {
      continue;
    }
    if (!absl::StartsWith(fields[0], "fe80") && !absl::StartsWith(fields[0], "ff00")) return true;
  }
  return false;
}

// Whether a socket is bound to the port. Of a device that is down it is somebody else's.
bool IsTaken(uint16_t port) {
  const std::string wanted = absl::StrFormat(":%04X", port);
  for (const char* table : {"/proc/thread-self/net/udp", "/proc/thread-self/net/udp6"}) {
    std::ifstream file(table);
    for (std::string line; std::getline(file, line);) {
      const std::vector<std::string> fields = absl::StrSplit(line, ' ', absl::SkipEmpty());
      if (fields.size() > 2 && absl::EndsWith(fields[1], wanted)) return true;
    }
  }
  return false;
}

report::WireGuardFacts LookAtDevice(const std::string& name, bool root) {
  report::WireGuardFacts facts{.name = name};
  facts.there = wgdev::InterfaceIndex(name) != 0;
  if (!facts.there) return facts;
  Interface interface(name);
  facts.up = interface.Up();
  facts.mtu = interface.Mtu();
  facts.user_space = access(wgdev::UapiSocketPath(name).c_str(), F_OK) == 0;
  facts.threaded =
      absl::StartsWith(TextOf(absl::StrCat("/sys/class/net/", name, "/threaded")), "1");
  facts.has_route = HasRoute(name);
  if (!root || (facts.user_space && facts.up)) return facts;  // its socket says what it is
  const auto device = wgdev::Open(name, wgdev::Backend::kAuto);
  const auto info = device.ok() ? (*device)->ReadInfo() : device.status();
  // An interface of another kind is refused for what it is; one that hangs is no proof.
  facts.wireguard = info.ok() || facts.user_space ||
                    !(absl::IsNotFound(info.status()) || absl::IsUnimplemented(info.status()));
  if (!facts.up && info.ok() && info->listen_port != 0 && IsTaken(info->listen_port)) {
    facts.taken_port = info->listen_port;
  }
  return facts;
}

bool KernelHasWireGuard(const std::string& release) {
  if (access("/sys/module/wireguard", F_OK) == 0) return true;
  for (const char* list : {"modules.builtin", "modules.dep"}) {
    if (absl::StrContains(TextOf(absl::StrCat("/lib/modules/", release, "/", list)),
                          "/wireguard.ko")) {
      return true;
    }
  }
  return false;
}

bool IsBpffs(const char* path) {
  struct statfs info;
  return statfs(path, &info) == 0 && static_cast<unsigned long>(info.f_type) == BPF_FS_MAGIC;
}

// Waits for no writer: a reader takes no lock.
std::string StoreProblem(const std::string& path) {
  const auto store = store::Store::Open({.path = path, .create = false, .read_only = true});
  const absl::Status status = store.ok() ? store->ReadStats().status() : store.status();
  const bool damaged = absl::IsDataLoss(status) || absl::IsFailedPrecondition(status);
  return damaged ? std::string(status.message()) : "";
}

void LookAtStore(const std::string& path, report::Machine* machine) {
  machine->store_path = path;
  struct statvfs disk;
  if (statvfs(path.c_str(), &disk) == 0) {
    machine->disk_free = uint64_t{disk.f_bavail} * disk.f_frsize;
    machine->disk_size = uint64_t{disk.f_blocks} * disk.f_frsize;
    machine->disk_read_only = (disk.f_flag & ST_RDONLY) != 0;
  }
  struct stat data;
  machine->store_open_to_others =
      stat((path + "/data.mdb").c_str(), &data) == 0 && (data.st_mode & 0007) != 0;
}

void LookAtKernel(report::Machine* machine) {
  utsname name;
  if (uname(&name) == 0) {
    machine->kernel = name.release;
    sscanf(name.release, "%d.%d", &machine->kernel_major, &machine->kernel_minor);
  }
  machine->cpus = static_cast<uint32_t>(sysconf(_SC_NPROCESSORS_ONLN));
  machine->has_btf = access("/sys/kernel/btf/vmlinux", F_OK) == 0;
  machine->has_bpffs = IsBpffs("/sys/fs/bpf");
  const Fd xdp(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
  machine->has_xdp_sockets = xdp.valid() || errno != EAFNOSUPPORT;
  const std::string jit = TextOf("/proc/sys/net/core/bpf_jit_enable");
  if (!jit.empty()) machine->has_bpf_jit = jit[0] != '0';
}

void LookAtParts(const Config& config, report::Machine* machine) {
  LookAtStore(config.store.path, machine);
  for (const NicConfig& nic : config.nics) {
    machine->nics.push_back(LookAtNic(nic.name, machine->root));
    machine->nics.back().force_copy = nic.force_copy;
  }
  for (const DeviceConfig& device : config.devices) {
    machine->devices.push_back(LookAtDevice(device.name, machine->root));
  }
  struct stat socket;
  machine->control_socket_gone =
      stat(config.control.socket.c_str(), &socket) != 0 && (errno == ENOENT || errno == ENOTDIR);
}

bool IsWritableByOthers(const std::string& path) {
  struct stat file;
  return stat(path.c_str(), &file) == 0 && (file.st_mode & 0022) != 0;
}

}  // namespace

report::Machine LookAtMachine(const std::string& config_path,
                              const absl::StatusOr<Config>& config) {
  report::Machine machine;
  LookAtKernel(&machine);
  machine.root = geteuid() == 0;
  machine.has_wireguard = KernelHasWireGuard(machine.kernel);
  timex clock{};
  const int state = adjtimex(&clock);
  machine.clock_synchronised = state >= 0 && state != TIME_ERROR && !(clock.status & STA_UNSYNC);
  machine.config_path = config_path;
  machine.config_writable_by_others = IsWritableByOthers(config_path);
  if (config.ok()) {
    LookAtParts(*config, &machine);
    if (machine.root) machine.store_problem = StoreProblem(config->store.path);
  } else {
    machine.config_problem = std::string(config.status().message());
  }
  return machine;
}

report::Machine LookAtMachineFromWithin(const Config& running) {
  report::Machine machine;
  machine.from_within = true;
  LookAtKernel(&machine);
  machine.config_path = running.path;
  machine.config_writable_by_others = IsWritableByOthers(running.path);
  // Without rights the file may not be readable, which says nothing of what is in it.
  if (access(running.path.c_str(), R_OK) == 0) {
    machine.config_problem = std::string(LoadConfig(running.path).status().message());
  }
  LookAtParts(running, &machine);
  return machine;
}

std::optional<report::ProcessFacts> LookAtProcess(pid_t pid) {
  std::ifstream status(absl::StrCat("/proc/", pid, "/status")),
      limits(absl::StrCat("/proc/", pid, "/limits"));
  report::ProcessFacts facts;
  bool found = false;
  for (std::string line; std::getline(status, line);) {
    constexpr char kFiltered[] = "Seccomp:\t2";
    if (absl::StartsWith(line, "Seccomp:")) facts.filtered = line == kFiltered;
    if (!absl::StartsWith(line, "CapEff:")) continue;
    found = absl::SimpleHexAtoi(absl::StripAsciiWhitespace(line.substr(7)), &facts.capabilities);
  }
  for (std::string line; std::getline(limits, line);) {
    constexpr absl::string_view kName = "Max locked memory";
    if (!absl::StartsWith(line, kName)) continue;
    const std::string text(absl::StripLeadingAsciiWhitespace(line.substr(kName.size())));
    const absl::string_view soft = absl::string_view(text).substr(0, text.find(' '));
    if (soft == "unlimited") facts.lockable = UINT64_MAX;
    if (soft != "unlimited") found = found && absl::SimpleAtoi(soft, &facts.lockable);
  }
  return found && limits.eof() ? std::optional(facts) : std::nullopt;
}

}  // namespace wicket::gateway
