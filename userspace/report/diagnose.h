// What an operator should know of the gateway and its machine.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "document/status_text.h"
#include "report/finding.h"

namespace wicket::report {

struct NicFacts {
  std::string name;
  bool there = false;
  bool up = false;
  std::string driver;
  uint32_t mtu = 0;
  uint32_t queues = 0;
  std::optional<bool> spreads_ports;  // RSS counts UDP's ports (IPv4); nullopt: not told
  uint32_t irqs = 0, irq_cpus = 0;    // interrupts of its device, and the CPUs that take them
  bool takes_vlan_tags = false;       // rxvlan is on
  bool has_vlans = false;             // an interface of a VLAN is on it
  bool merges_frames = false;         // large-receive-offload is on
  bool checks_sums = true;            // it verifies received checksums, or does not tell
  bool strict_rp_filter = false;      // the larger of its mode and that of all is 1
  bool wireguard = false;             // it is a WireGuard device
  bool force_copy = false;            // as configured
  std::string other_program;          // an XDP program that is not ours and has the hook alone
};

struct WireGuardFacts {
  std::string name;
  bool there = false;
  bool up = false;
  bool wireguard = true;  // also where nobody may ask
  bool user_space = false;
  bool threaded = false;    // NAPI of the device in threads of its own
  bool has_route = false;   // a route leads through it, besides its own addresses
  uint16_t taken_port = 0;  // it is down, and another socket has its port
  uint32_t mtu = 0;
};

struct CertificateFacts {
  std::string path;
  std::string problem;  // empty: it can be used
  absl::Time expires;
  bool key_open_to_others = false;
};

// Of the daemon's main thread, which keeps the rights that attaching a NIC takes.
struct ProcessFacts {
  uint64_t capabilities = 0;  // in effect, a bit each
  uint64_t lockable = 0;      // bytes; RLIMIT_MEMLOCK
  bool filtered = true;       // its system calls are
};

// What was found of the machine; strings are empty and numbers zero where nothing was.
struct Machine {
  std::string kernel;  // "6.12.9-amd64"
  int kernel_major = 0, kernel_minor = 0;
  uint32_t cpus = 0;
  bool root = false;         // without it some of the rest cannot be seen
  bool from_within = false;  // seen by wicketd, from which its service hides the clock, WireGuard's
                             // module, rp_filter and interrupts
  bool look_hangs = false;   // the kernel does not answer; the rest is of an earlier look, or empty
  bool has_btf = false;
  bool has_bpffs = false;
  bool has_xdp_sockets = false;
  std::optional<bool> has_bpf_jit;  // nullopt: its switch cannot be seen
  bool has_wireguard = false;       // the kernel's driver is loaded, built in, or can be loaded
  bool clock_synchronised = false;
  std::string config_path;
  std::string config_problem;  // empty: it is good
  bool config_writable_by_others = false;
  std::string store_path;
  std::optional<uint64_t> disk_free, disk_size;  // bytes of the store's file system
  bool disk_read_only = false;
  bool store_open_to_others = false;  // its file's mode
  // Why its file cannot be read; empty: it can, none is there, or nobody looked, as without root.
  std::string store_problem;
  bool control_socket_gone = false;
  std::vector<NicFacts> nics;
  std::vector<WireGuardFacts> devices;
  // The rest is nullopt also from within, or where it is not this user's to see.
  std::optional<ProcessFacts> process;   // nullopt: none runs
  std::optional<CertificateFacts> edge;  // of wicket-edge; nullopt: it is not set up here
  // Of the configuration of wicket-hook; empty: none; nullopt: it is not set up here.
  std::optional<std::string> hook_problem;
};

inline bool OlderThan(const Machine& machine, int major, int minor) {
  return std::pair(machine.kernel_major, machine.kernel_minor) < std::pair(major, minor);
}

// What the checks found; some say nothing where all is well. `status`: what a gateway last
// published; null: none runs.
// Thread: any; no I/O.
std::vector<Finding> Diagnose(const Machine& machine, const document::Status* status);

}  // namespace wicket::report
