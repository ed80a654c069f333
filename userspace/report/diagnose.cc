#include "report/diagnose.h"

#include <linux/capability.h>

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "report/interface_checks.h"
#include "report/service_checks.h"

namespace wicket::report {
namespace {

constexpr uint64_t kDiskFreeMin = uint64_t{1} << 30;
constexpr uint64_t kLockedOfAQueue = 9 << 20;  // frames, rings and keys

std::string NicCalled(const std::string& name) { return absl::StrCat("nic ", name); }
std::string DeviceCalled(const std::string& name) { return absl::StrCat("device ", name); }

// Null: none has the name.
template <typename T>
const T* Named(const std::vector<T>& all, const std::string& name) {
  const auto it =
      std::find_if(all.begin(), all.end(), [&](const T& one) { return one.name == name; });
  return it == all.end() ? nullptr : &*it;
}

std::string Gigabytes(uint64_t bytes) {
  return absl::StrFormat("%.1f GB", static_cast<double>(bytes) / 1e9);
}

// --- the machine ------------------------------------------------------------

void CheckKernel(const Machine& machine, Findings* out) {
  if (machine.kernel.empty()) return;  // no look has ended yet
  if (OlderThan(machine, 5, 18)) {
    out->Warn("kernel", absl::StrCat("Linux ", machine.kernel),
              "before 5.18 packets go back to the kernel through a raw socket, which is slower and "
              "is not seen by the firewall's rules for the NIC",
              "upgrade to Linux 6.1 or later");
  } else {
    out->Ok("kernel", absl::StrCat("Linux ", machine.kernel));
  }
  if (machine.has_btf) {
    out->Ok("BTF", "/sys/kernel/btf/vmlinux");
  } else {
    out->Warn(
        "BTF", "the kernel has none",
        "WireGuard's handshake backlog cannot be read, so packets are given back at a guessed "
        "rate; and programs cannot share an XDP hook",
        "use a kernel with CONFIG_DEBUG_INFO_BTF=y, as Debian's is");
  }
  if (machine.has_bpffs) {
    out->Ok("bpffs", "mounted at /sys/fs/bpf");
  } else {
    out->Warn("bpffs", "nothing is mounted at /sys/fs/bpf",
              "wicketd mounts it at its start, unless its unit forbids that",
              "mount -t bpf bpf /sys/fs/bpf", {"mount", "-t", "bpf", "bpf", "/sys/fs/bpf"});
  }
  if (machine.has_xdp_sockets) {
    out->Ok("XDP sockets", "the kernel has them");
  } else {
    out->Fail("XDP sockets", "the kernel has none", "no NIC can be attached",
              "use a kernel with CONFIG_XDP_SOCKETS=y, as Debian's is");
  }
  if (machine.has_bpf_jit == true) {
    out->Ok("BPF JIT", "on");
  } else if (machine.has_bpf_jit == false) {
    out->Warn("BPF JIT", "off", "the XDP program is interpreted, several times as slowly",
              "sysctl -w net.core.bpf_jit_enable=1", {"sysctl", "-w", "net.core.bpf_jit_enable=1"});
  }
}

// What is hidden from within the daemon.
void CheckOutside(const Machine& machine, Findings* out) {
  if (machine.kernel.empty() || machine.from_within) return;
  const bool all_in_user_space =
      !machine.devices.empty() &&
      std::all_of(machine.devices.begin(), machine.devices.end(),
                  [](const WireGuardFacts& device) { return device.user_space; });
  if (machine.has_wireguard) {
    out->Ok("WireGuard", "the kernel has it");
  } else if (all_in_user_space) {
    out->Warn("WireGuard", "the kernel has none; all devices are user-space ones",
              "wireguard-go takes about three times as long for a handshake and for data",
              "use a kernel with CONFIG_WIREGUARD");
  } else if (machine.devices.empty()) {
    out->Warn("WireGuard", "the kernel has none",
              "which devices there are, and whether they are user-space ones, only the "
              "configuration tells",
              "correct the configuration first");
  } else {
    out->Fail("WireGuard", "the kernel has none", "without a device nothing is served",
              "modprobe wireguard, or start a user-space WireGuard");
  }
  if (machine.clock_synchronised) {
    out->Ok("clock", "synchronised");
  } else {
    out->Warn("clock", "not synchronised",
              "a wrong clock refuses peers with a time to live, and stamps from clients whose "
              "clock is right",
              "timedatectl set-ntp true");
  }
}

void CheckConfig(const Machine& machine, Findings* out) {
  if (!machine.config_problem.empty()) {
    out->Fail("configuration", machine.config_problem, "wicketd would not start or reload with it",
              absl::StrCat("edit ", machine.config_path));
  } else {
    out->Ok("configuration", machine.config_path);
  }
  if (machine.config_writable_by_others) {
    out->Fail("configuration's mode", absl::StrCat(machine.config_path, " is writable by others"),
              "its writer decides which files wicketd writes",
              absl::StrCat("chmod go-w ", machine.config_path));
  }
}

void CheckStore(const Machine& machine, const document::Status* status, Findings* out) {
  if (machine.disk_read_only) {
    out->Fail("store", absl::StrCat(machine.store_path, ": the file system is read-only"),
              "no peer can be created, and sessions are kept in memory only",
              "look for I/O errors in dmesg, then: mount -o remount,rw");
  } else if (machine.disk_free) {
    const std::string what =
        absl::StrCat(machine.store_path, ": ", Gigabytes(*machine.disk_free), " free");
    const uint64_t wanted = std::max(kDiskFreeMin, status ? status->store_bytes / 10 : 0);
    if (*machine.disk_free < wanted && *machine.disk_free < machine.disk_size.value_or(0) / 10) {
      out->Warn("store", what, "a full disk refuses new peers and keeps sessions in memory only",
                "make room, or move the store to a larger file system");
    } else {
      out->Ok("store", what);
    }
  }
  if (machine.store_open_to_others) {
    out->Fail("store's mode", absl::StrCat(machine.store_path, "/data.mdb is readable by others"),
              "preshared keys are in it",
              absl::StrCat("chmod 0600 ", machine.store_path, "/data.mdb"));
  }
  if (!machine.store_problem.empty()) {
    out->Fail("store's content", machine.store_problem, "no peer that is not installed gets in",
              "put back a copy that wicket db backup has made (docs/operations.md, The store)");
  }
  if (status != nullptr && status->store_bytes_max > 0 &&
      status->store_bytes > status->store_bytes_max / 10 * 9) {
    out->Warn(
        "store's size",
        absl::StrCat(Gigabytes(status->store_bytes), " of ", Gigabytes(status->store_bytes_max)),
        "a full store refuses new peers; room of deleted peers is used again",
        "raise [store] bytes_max and restart wicketd");
  }
  if (status != nullptr && status->store_refuses_writes) {
    out->Fail("store's writes", absl::StrCat(status->unsaved_sessions, " sessions are not saved"),
              "they are lost if wicketd ends before it can write them",
              "journalctl -u wicketd says why; usually the disk is full");
  }
}

// --- processes --------------------------------------------------------------

// What attaching a NIC and opening its sockets takes.
void CheckProcess(const Machine& machine, Findings* out) {
  constexpr std::pair<int, const char*> kNeeded[] = {{CAP_NET_ADMIN, "CAP_NET_ADMIN"},
                                                     {CAP_NET_RAW, "CAP_NET_RAW"},
                                                     {CAP_SYS_ADMIN, "CAP_SYS_ADMIN"}};
  const ProcessFacts& process = *machine.process;
  const auto has = [&](int capability) { return (process.capabilities >> capability & 1) != 0; };
  std::string lacks;
  for (const auto& [capability, name] : kNeeded) {
    if (!has(capability)) absl::StrAppend(&lacks, lacks.empty() ? "" : ", ", name);
  }
  if (lacks.empty()) {
    out->Ok("capabilities", "those that it needs");
  } else {
    out->Fail("capabilities", absl::StrCat("lacks ", lacks), "a NIC that comes cannot be attached",
              "AmbientCapabilities= of its unit: systemctl cat wicketd");
  }
  if (!process.filtered) {
    out->Warn("system calls", "not filtered", "a bug in it could do more than it needs to",
              "journalctl -u wicketd says why; a kernel with CONFIG_SECCOMP_FILTER=y");
  }
  uint64_t queues = 0;
  for (const NicFacts& nic : machine.nics) queues += nic.queues;
  if (!has(CAP_IPC_LOCK) && process.lockable < queues * kLockedOfAQueue) {
    out->Warn("memlock", absl::StrCat(process.lockable >> 10, " KiB"),
              "the rings of all queues, and the keys of batches, may not fit",
              "LimitMEMLOCK=infinity in its unit");
  } else {
    out->Ok("memlock", "enough");
  }
}

void CheckHook(const std::string& problem, Findings* out) {
  if (problem.empty()) return out->Ok("configuration", "can be read");
  out->Fail("configuration", problem, "wicket-hook does not start with it, and events are not sent",
            "wicket-hook --check --config /etc/wicket-hook/hooks.toml");
}

void CheckCertificate(const CertificateFacts& edge, Findings* out) {
  if (edge.key_open_to_others) {
    out->Warn("key's mode", "others may read the private key", "its reader can be this gateway",
              "chmod o-rwx, as the certificate's tls_key names it");
  }
  if (!edge.problem.empty()) {
    return out->Fail("certificate", edge.problem, "wicket-edge does not start with it",
                     "wicket-edge --check --config /etc/wicket-edge/edge.toml");
  }
  const absl::Duration left = edge.expires - WallNow();
  const std::string what = absl::StrCat(
      edge.path, ": until ", absl::FormatTime("%Y-%m-%d", edge.expires, absl::UTCTimeZone()));
  if (left <= absl::ZeroDuration()) {
    out->Fail("certificate", what, "it has expired: clients refuse it",
              "renew it, then systemctl reload wicket-edge");
  } else if (left < absl::Hours(14 * 24)) {
    out->Warn("certificate", what, "clients refuse it after that",
              "renew it, then systemctl reload wicket-edge");
  } else {
    out->Ok("certificate", what);
  }
}

// Of the gateway and its machine as a whole.
void CheckWhole(const Machine& machine, const document::Status* status, Findings* out) {
  CheckService(status, out);
  if (status != nullptr && machine.control_socket_gone) {
    out->Fail("control socket", "somebody has removed it",
              "wicket and wicket-edge do not reach wicketd; clients get in",
              "systemctl restart wicketd");
  }
  CheckKernel(machine, out);
  CheckOutside(machine, out);
  if (!machine.kernel.empty()) CheckConfig(machine, out);  // else no look has ended yet
  CheckStore(machine, status, out);
  if (status != nullptr) CheckProgram(*status, out);
  if (machine.look_hangs) {
    out->Fail("look", "the kernel does not answer questions about network interfaces",
              "something holds RTNL; newcomers cannot be installed either",
              "look for a process in D state: ps -eo pid,stat,wchan:32,cmd | grep ' D'");
  }
  if (machine.from_within) {
    out->Ok("view", "from within wicketd; wicket doctor also sees clock, rp_filter and interrupts");
  } else if (!machine.root) {
    out->Warn("rights", "not root", "XDP hooks and the store cannot be looked at",
              "sudo wicket doctor");
  }
}

}  // namespace

std::vector<Finding> Diagnose(const Machine& machine, const document::Status* status) {
  std::vector<Finding> all;
  const auto add = [&](std::string about, const auto& check) {
    Findings findings(std::move(about));
    check(&findings);
    findings.MoveTo(&all);
  };
  add("", [&](Findings* out) { CheckWhole(machine, status, out); });
  std::set<std::string> seen;
  for (const NicFacts& nic : machine.nics) {
    seen.insert(nic.name);
    add(NicCalled(nic.name), [&](Findings* out) {
      CheckNic(machine, nic, out);
      const auto* served = status ? Named(status->nics, nic.name) : nullptr;
      if (served != nullptr) {
        CheckServedNic(*served, out);
        CheckAttachment(nic, *served, out);
      }
    });
  }
  for (const WireGuardFacts& device : machine.devices) {
    seen.insert(device.name);
    add(DeviceCalled(device.name), [&](Findings* out) {
      CheckDevice(machine, device, out);
      const auto* served = status ? Named(status->devices, device.name) : nullptr;
      if (served != nullptr) CheckServedDevice(*served, out);
    });
  }
  if (status != nullptr) {  // the machine's are not known during a look that hangs
    for (const document::NicStatus& nic : status->nics) {
      if (seen.contains(nic.name)) continue;
      add(NicCalled(nic.name), [&](Findings* out) { CheckServedNic(nic, out); });
    }
    for (const document::DeviceStatus& device : status->devices) {
      if (seen.contains(device.name)) continue;
      add(DeviceCalled(device.name), [&](Findings* out) { CheckServedDevice(device, out); });
    }
  }
  if (machine.process) add("wicketd", [&](Findings* out) { CheckProcess(machine, out); });
  if (machine.hook_problem) {
    add("wicket-hook", [&](Findings* out) { CheckHook(*machine.hook_problem, out); });
  }
  if (machine.edge) {
    add("wicket-edge", [&](Findings* out) { CheckCertificate(*machine.edge, out); });
  }
  return all;
}

}  // namespace wicket::report
