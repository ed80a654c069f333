#include "report/interface_checks.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"

namespace wicket::report {
namespace {

// A frame and its headroom must fit into a page, and drivers want to put XDP's metadata there too.
constexpr uint32_t kXdpMtuMax = 3498;
constexpr uint32_t kTunnelOverhead = 80;  // IPv6, UDP, a data message's header and tag
// Drivers of the kernel with AF_XDP zero copy, by 6.12.
constexpr absl::string_view kZeroCopyDrivers[] = {"i40e",      "ice", "igc",  "ixgbe",
                                                  "mlx5_core", "nfp", "tsnep"};

// What is known of drivers that others have had trouble with.
void CheckDriver(const Machine& machine, const NicFacts& nic, Findings* out) {
  const char* trouble = nullptr;
  if (nic.driver == "ice" && OlderThan(machine, 6, 11)) {
    trouble = "ice before Linux 6.10.4 may crash the kernel when an AF_XDP socket is closed";
  } else if (nic.driver == "ixgbe") {
    trouble = "AF_XDP is unstable with ixgbe";
  } else if (nic.driver == "ena") {
    trouble = "ena may reset the device with zero copy: set force_copy = true for this NIC";
  } else if (nic.driver == "igb" && machine.kernel_major == 6 && machine.kernel_minor == 14) {
    trouble = "igb of Linux 6.14 leaks a buffer for each packet that XDP passes";
  }
  if (trouble != nullptr) {
    out->Warn("driver", nic.driver, trouble, "docs/operations.md, Drivers");
  } else {
    out->Ok("driver", nic.driver.empty() ? "not known" : nic.driver);
  }
}

// What a NIC does by itself to frames, and the kernel by their source.
void CheckOffloads(const NicFacts& nic, Findings* out) {
  if (nic.takes_vlan_tags && nic.has_vlans) {
    out->Warn("VLAN offload", "rxvlan is on, and VLANs are on the NIC",
              "XDP sees frames without their tags, so cookie replies leave without",
              absl::StrCat("ethtool -K ", nic.name, " rxvlan off"),
              {"ethtool", "-K", nic.name, "rxvlan", "off"});
  }
  if (nic.merges_frames) {
    out->Warn("LRO", "on", "drivers refuse XDP, or turn it off themselves",
              absl::StrCat("ethtool -K ", nic.name, " lro off"),
              {"ethtool", "-K", nic.name, "lro", "off"});
  }
  if (!nic.checks_sums) {
    out->Warn(
        "checksums", "the NIC does not verify them", "the kernel reads each data packet for it",
        absl::StrCat("ethtool -K ", nic.name, " rx on"), {"ethtool", "-K", nic.name, "rx", "on"});
  }
  if (nic.strict_rp_filter) {
    out->Warn("rp_filter", "strict",
              "the kernel drops clients whose addresses are not routed back through this NIC",
              absl::StrCat("sysctl -w net.ipv4.conf.", nic.name, ".rp_filter=2"),
              {"sysctl", "-w", absl::StrCat("net.ipv4.conf.", nic.name, ".rp_filter=2")});
  }
}

}  // namespace

void CheckNic(const Machine& machine, const NicFacts& nic, Findings* out) {
  if (!nic.there) {
    return out->Fail("interface", "not on this machine", "its clients are not served",
                     "correct the name in the configuration: ip link");
  }
  if (nic.wireguard) {
    return out->Fail("interface", "a WireGuard device", "initiations arrive by the NIC below it",
                     "name that NIC in [[nic]], and this device in [[device]]");
  }
  if (!nic.up) {
    out->Fail("interface", "down", "nothing arrives",
              absl::StrCat("ip link set ", nic.name, " up"));
  } else {
    out->Ok("interface", absl::StrCat("up, MTU ", nic.mtu));
  }
  CheckDriver(machine, nic, out);
  if (!nic.other_program.empty()) {
    out->Fail("XDP hook", absl::StrCat("the program ", nic.other_program, " has it alone"),
              "our program cannot be attached beside it",
              absl::StrCat("remove it (ip link set ", nic.name,
                           " xdp off), or load it through libxdp's dispatcher (xdp-loader load)"));
  }
  if (nic.mtu > kXdpMtuMax) {
    out->Warn("MTU", absl::StrCat(nic.mtu), "most drivers refuse native XDP above 3 498",
              absl::StrCat("ip link set ", nic.name, " mtu 1500, or xdp = \"generic\""));
  }
  if (nic.queues > machine.cpus) {
    out->Warn("queues", absl::StrCat(nic.queues, " RX queues, ", machine.cpus, " CPUs"),
              "shards share CPUs, and a flood of one queue delays the others",
              absl::StrCat("ethtool -L ", nic.name, " combined ", machine.cpus));
  } else {
    out->Ok("queues", absl::StrCat(nic.queues, " RX queues, ", machine.cpus, " CPUs"));
  }
  if (nic.queues > 1 && nic.spreads_ports == false) {
    out->Warn("RSS", "the ports of UDP do not count",
              "all clients behind one address share a queue, and a shard",
              absl::StrCat("ethtool -N ", nic.name, " rx-flow-hash udp4 sdfn; the same for udp6"),
              {"ethtool", "-N", nic.name, "rx-flow-hash", "udp4", "sdfn"});
  }
  if (nic.irqs > 1 && nic.irq_cpus == 1) {
    out->Warn("interrupts", absl::StrCat("all ", nic.irqs, " go to one CPU"),
              "that CPU takes the packets of all queues",
              "a CPU for each queue: /proc/irq/*/smp_affinity_list (docs/tuning.md)");
  }
  CheckOffloads(nic, out);
}

void CheckAttachment(const NicFacts& nic, const document::NicStatus& served, Findings* out) {
  if (served.xdp_mode == "away") return;
  if (nic.queues > served.queues) {
    out->Warn("shards", absl::StrCat(served.queues, " for ", nic.queues, " RX queues"),
              "initiations of the other queues pass to the kernel, which does not know them",
              absl::StrCat("journalctl -u wicketd says why; or: ethtool -L ", nic.name,
                           " combined ", served.queues));
  }
  const bool could = std::find(std::begin(kZeroCopyDrivers), std::end(kZeroCopyDrivers),
                               nic.driver) != std::end(kZeroCopyDrivers);
  if (could && served.xdp_mode == "native" && !served.zero_copy && !nic.force_copy) {
    out->Warn("zero copy", absl::StrCat("not used, though ", nic.driver, " can have it"),
              "each initiation is copied once more",
              "journalctl -u wicketd says why; docs/operations.md, Drivers");
  }
}

void CheckDevice(const Machine& machine, const WireGuardFacts& device, Findings* out) {
  if (!device.there) {
    return out->Fail("interface", "not on this machine", "its peers are not served",
                     absl::StrCat("ip link add ", device.name, " type wireguard"));
  }
  if (!device.wireguard) {
    return out->Fail("interface", "not a WireGuard device", "no peer can be put into it",
                     "name a WireGuard device in [[device]]: wg show interfaces");
  }
  if (!device.up) {
    out->Fail("interface", "down", "its port is closed",
              absl::StrCat("ip link set ", device.name, " up"));
  } else {
    out->Ok("interface", absl::StrCat("up, ", device.user_space ? "user-space" : "the kernel's"));
  }
  if (device.taken_port != 0) {
    out->Fail("port", absl::StrCat(device.taken_port, " is taken by another program"),
              "the device cannot come up",
              absl::StrCat("ss -ulnp sport = :", device.taken_port, " shows which"));
  }
  if (!device.has_route) {
    out->Warn("routes", "none leads through it",
              "answers to the peers' addresses leave by the default route",
              absl::StrCat("ip route add PREFIX dev ", device.name));
  }
  for (const NicFacts& nic : machine.nics) {
    if (!nic.there || nic.mtu == 0 || device.mtu + kTunnelOverhead <= nic.mtu) continue;
    out->Warn("MTU", absl::StrCat(device.mtu, ", and ", nic.name, " has ", nic.mtu),
              "full packets of the tunnel are fragmented or lost",
              absl::StrCat("ip link set ", device.name, " mtu ", nic.mtu - kTunnelOverhead));
  }
  if (device.threaded) {
    out->Warn("threaded NAPI", "on", "each peer has a thread that the kernel wakes for its packets",
              absl::StrCat("echo 0 > /sys/class/net/", device.name, "/threaded"));
  }
}

}  // namespace wicket::report
