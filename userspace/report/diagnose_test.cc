// Every finding of Diagnose, each by breaking one thing of a machine on which all is well.
#include "report/diagnose.h"

#include <gtest/gtest.h>
#include <linux/capability.h>

#include <fstream>
#include <functional>
#include <iterator>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"

namespace wicket::report {
namespace {

Machine GoodMachine() {
  Machine machine{.kernel = "6.12.9",
                  .kernel_major = 6,
                  .kernel_minor = 12,
                  .cpus = 4,
                  .root = true,
                  .has_btf = true,
                  .has_bpffs = true,
                  .has_xdp_sockets = true,
                  .has_bpf_jit = true,
                  .has_wireguard = true,
                  .clock_synchronised = true,
                  .config_path = "/etc/wicket.toml",
                  .store_path = "/var/lib/wicket",
                  .disk_free = uint64_t{50} << 30,
                  .disk_size = uint64_t{100} << 30};
  machine.nics.push_back({.name = "eth0",
                          .there = true,
                          .up = true,
                          .driver = "mlx5_core",
                          .mtu = 1500,
                          .queues = 4,
                          .spreads_ports = true,
                          .irqs = 4,
                          .irq_cpus = 4});
  machine.process = ProcessFacts{.capabilities = ~uint64_t{0}, .lockable = 8 << 20};
  machine.hook_problem = "";
  machine.edge = CertificateFacts{.path = "cert.pem", .expires = WallNow() + absl::Hours(2000)};
  machine.devices.push_back(
      {.name = "wg0", .there = true, .up = true, .has_route = true, .mtu = 1420});
  return machine;
}

document::Status GoodStatus() {
  document::Status status{.version = "1",
                          .pid = 7,
                          .written = WallNow(),
                          .store_bytes = 1 << 20,
                          .store_bytes_max = 64 << 20};
  status.threads = {{"eth0/0", 0.1}};
  status.nics.push_back({.name = "eth0", .xdp_mode = "native", .queues = 4, .zero_copy = true});
  status.devices.push_back({.name = "wg0",
                            .backend = "netlink",
                            .installed = 10,
                            .installed_max = 1000,
                            .probation_max = 100});
  return status;
}

TEST(DiagnoseTest, OfAGoodMachineAllIsWell) {
  const document::Status status = GoodStatus();
  const std::vector<Finding> findings = Diagnose(GoodMachine(), &status);
  EXPECT_GT(findings.size(), 10u);
  for (const Finding& finding : findings) {
    EXPECT_EQ(finding.grade, Grade::kOk) << finding.check << ": " << finding.what;
    EXPECT_TRUE(finding.why.empty() && finding.mend.empty() && finding.fix.empty());
  }
  EXPECT_EQ(WorstOf(findings), Grade::kOk);
}

TEST(DiagnoseTest, WhatCannotBeSeenFromWithinIsNotJudged) {
  const document::Status status = GoodStatus();
  Machine machine = GoodMachine();
  machine.from_within = true;
  machine.root = machine.clock_synchronised = machine.has_wireguard = false;
  EXPECT_EQ(WorstOf(Diagnose(machine, &status)), Grade::kOk);
  // Before the first look has ended: what the status tells is told.
  Machine nothing{.from_within = true};
  for (const Finding& finding : Diagnose(nothing, &status)) {
    EXPECT_NE(finding.grade, Grade::kFailure) << finding.check;
  }
}

struct Break {
  const char* check;
  Grade grade;
  std::function<void(Machine&, document::Status&)> apply;
};

TEST(DiagnoseTest, EachThingThatIsBrokenIsFoundAndNothingElse) {
  const Grade warn = Grade::kWarning, fail = Grade::kFailure;
  const Break breaks[] = {
      {"kernel", warn, [](auto& m, auto&) { m.kernel_major = 5, m.kernel_minor = 15; }},
      {"look", fail, [](auto& m, auto&) { m.look_hangs = true; }},
      {"BTF", warn, [](auto& m, auto&) { m.has_btf = false; }},
      {"bpffs", warn, [](auto& m, auto&) { m.has_bpffs = false; }},
      {"WireGuard", fail, [](auto& m, auto&) { m.has_wireguard = false; }},
      {"clock", warn, [](auto& m, auto&) { m.clock_synchronised = false; }},
      {"configuration", fail, [](auto& m, auto&) { m.config_problem = "x.toml:1: what"; }},
      {"configuration's mode", fail, [](auto& m, auto&) { m.config_writable_by_others = true; }},
      {"store", fail, [](auto& m, auto&) { m.disk_read_only = true; }},
      {"store", warn, [](auto& m, auto&) { m.disk_free = 1000; }},
      {"store's content", fail, [](auto& m, auto&) { m.store_problem = "data.mdb: truncated"; }},
      {"store's size", warn, [](auto&, auto& s) { s.store_bytes = 60 << 20; }},
      {"control socket", fail, [](auto& m, auto&) { m.control_socket_gone = true; }},
      {"XDP sockets", fail, [](auto& m, auto&) { m.has_xdp_sockets = false; }},
      {"BPF JIT", warn, [](auto& m, auto&) { m.has_bpf_jit = false; }},
      {"nic eth0: shards", warn, [](auto&, auto& s) { s.nics[0].queues = 3; }},
      {"nic eth0: zero copy", warn, [](auto&, auto& s) { s.nics[0].zero_copy = false; }},
      {"nic eth0: interface", fail, [](auto& m, auto&) { m.nics[0].wireguard = true; }},
      {"device wg0: interface", fail, [](auto& m, auto&) { m.devices[0].wireguard = false; }},
      {"store's mode", fail, [](auto& m, auto&) { m.store_open_to_others = true; }},
      {"store's writes", fail, [](auto&, auto& s) { s.store_refuses_writes = true; }},
      {"rights", warn, [](auto& m, auto&) { m.root = false; }},
      {"wicketd", fail, [](auto&, auto& s) { s.written -= absl::Seconds(20); }},
      {"threads", fail, [](auto&, auto& s) { s.threads[0].silent_s = 9; }},
      {"clock steps", warn, [](auto&, auto& s) { s.clock_steps_lately = 1; }},
      {"attack", warn, [](auto&, auto& s) { s.defence.attack = true; }},
      {"XDP program", warn, [](auto&, auto& s) { s.steering["pass_fault"] = 1; }},
      {"clients' key", warn, [](auto&, auto& s) { s.steering["drop_mac1"] = 500; }},
      {"nic eth0: interface", fail, [](auto& m, auto&) { m.nics[0].up = false; }},
      {"nic eth0: driver", warn, [](auto& m, auto&) { m.nics[0].driver = "ixgbe"; }},
      {"nic eth0: driver", warn,
       [](auto& m, auto&) { m.nics[0].driver = "ice", m.kernel_minor = 1; }},
      {"nic eth0: XDP hook", fail, [](auto& m, auto&) { m.nics[0].other_program = "xdpfw"; }},
      {"nic eth0: MTU", warn, [](auto& m, auto&) { m.nics[0].mtu = 9000; }},
      {"nic eth0: VLAN offload", warn,
       [](auto& m, auto&) { m.nics[0].takes_vlan_tags = m.nics[0].has_vlans = true; }},
      {"nic eth0: LRO", warn, [](auto& m, auto&) { m.nics[0].merges_frames = true; }},
      {"nic eth0: queues", warn, [](auto& m, auto&) { m.cpus = 2; }},
      {"nic eth0: RSS", warn, [](auto& m, auto&) { m.nics[0].spreads_ports = false; }},
      {"nic eth0: interrupts", warn, [](auto& m, auto&) { m.nics[0].irq_cpus = 1; }},
      {"wicket-edge: certificate", fail, [](auto& m, auto&) { m.edge->problem = "no key"; }},
      {"wicket-edge: certificate", fail,
       [](auto& m, auto&) { m.edge->expires = WallNow() - absl::Seconds(1); }},
      {"wicket-edge: certificate", warn,
       [](auto& m, auto&) { m.edge->expires = WallNow() + absl::Hours(24); }},
      {"threads", fail, [](auto&, auto& s) { s.threads = {{"eth0/0", 3}}; }},
      {"threads", warn, [](auto&, auto& s) { s.threads = {{"committer", 11}, {"log", 9}}; }},
      {"nic eth0: checksums", warn, [](auto& m, auto&) { m.nics[0].checks_sums = false; }},
      {"wicketd: capabilities", fail,
       [](auto& m, auto&) { m.process->capabilities &= ~(uint64_t{1} << CAP_NET_RAW); }},
      {"wicketd: memlock", warn,
       [](auto& m, auto&) { m.process->capabilities &= ~(uint64_t{1} << CAP_IPC_LOCK); }},
      {"wicketd: system calls", warn, [](auto& m, auto&) { m.process->filtered = false; }},
      {"wicket-hook: configuration", fail, [](auto& m, auto&) { m.hook_problem = "h.toml:1: x"; }},
      {"wicket-edge: key's mode", warn, [](auto& m, auto&) { m.edge->key_open_to_others = true; }},
      {"nic eth0: rp_filter", warn, [](auto& m, auto&) { m.nics[0].strict_rp_filter = true; }},
      {"nic eth0: served", fail, [](auto&, auto& s) { s.nics[0].xdp_mode = "away"; }},
      {"nic eth0: XDP mode", warn, [](auto&, auto& s) { s.nics[0].xdp_mode = "generic"; }},
      {"nic eth0: rings", warn, [](auto&, auto& s) { s.nics[0].lost_lately = 1; }},
      {"device wg0: interface", fail, [](auto& m, auto&) { m.devices[0].up = false; }},
      {"device wg0: port", fail, [](auto& m, auto&) { m.devices[0].taken_port = 51820; }},
      {"device wg0: routes", warn, [](auto& m, auto&) { m.devices[0].has_route = false; }},
      {"device wg0: MTU", warn, [](auto& m, auto&) { m.devices[0].mtu = 1500; }},
      {"device wg0: threaded NAPI", warn, [](auto& m, auto&) { m.devices[0].threaded = true; }},
      {"device wg0: served", fail, [](auto&, auto& s) { s.devices[0].backend = "away"; }},
      {"device wg0: answers", fail, [](auto&, auto& s) { s.devices[0].silent_s = 5; }},
      {"device wg0: installed_max", warn, [](auto&, auto& s) { s.devices[0].installed = 950; }},
      {"device wg0: probation_max", warn,
       [](auto&, auto& s) { s.devices[0].installed_unconfirmed = 48; }},
      {"device wg0: installs", warn,
       [](auto&, auto& s) { s.devices[0].install_errors_lately = 1; }}};
  std::ifstream file(std::string(WICKET_TEST_DATA) + "/../../docs/operations.md");
  const std::string documentation{std::istreambuf_iterator<char>(file), {}};
  for (const Break& one : breaks) {
    std::string name = one.check;
    if (const size_t colon = name.find(": "); colon != name.npos) name.erase(0, colon + 2);
    EXPECT_TRUE(absl::StrContains(documentation, absl::StrCat("\n| `", name, "` | "))) << name;
    Machine machine = GoodMachine();
    document::Status status = GoodStatus();
    one.apply(machine, status);
    std::vector<Finding> bad;
    for (const Finding& finding : Diagnose(machine, &status)) {
      if (finding.grade != Grade::kOk) bad.push_back(finding);
    }
    ASSERT_EQ(bad.size(), 1u) << one.check;
    EXPECT_EQ(bad[0].check, one.check);
    EXPECT_EQ(bad[0].grade, one.grade) << one.check;
    EXPECT_FALSE(bad[0].why.empty()) << one.check;
    EXPECT_FALSE(bad[0].mend.empty()) << one.check;
  }
}

TEST(DiagnoseTest, WithoutADaemonOnlyThatIsAddedToTheMachinesFindings) {
  const std::vector<Finding> findings = Diagnose(GoodMachine(), nullptr);
  EXPECT_EQ(findings[0].check, "wicketd");
  EXPECT_EQ(findings[0].grade, Grade::kFailure);
  for (size_t i = 1; i < findings.size(); ++i) EXPECT_EQ(findings[i].grade, Grade::kOk);
}

TEST(DiagnoseTest, WhatIsNotThereIsNotLookedAtFurther) {
  Machine machine = GoodMachine();
  machine.nics[0] = {.name = "eth0"};
  machine.devices[0] = {.name = "wg0"};
  const std::vector<Finding> findings = Diagnose(machine, nullptr);
  size_t of_them = 0;
  for (const Finding& finding : findings) {
    of_them += finding.check.starts_with("nic") || finding.check.starts_with("device");
  }
  EXPECT_EQ(of_them, 2u);
}

TEST(DiagnoseTest, WhatTheGatewaySaysIsToldWhileTheFirstLookHangs) {
  document::Status status = GoodStatus();
  status.nics[0].xdp_mode = "away";
  status.devices[0].silent_s = 5;
  std::vector<std::string> failures;
  for (const Finding& finding : Diagnose({.from_within = true, .look_hangs = true}, &status)) {
    EXPECT_NE(finding.check, "configuration") << "nobody has looked at it";
    if (finding.grade == Grade::kFailure) failures.push_back(finding.check);
  }
  EXPECT_EQ(failures,
            (std::vector<std::string>{"look", "nic eth0: served", "device wg0: answers"}));
}

TEST(DiagnoseTest, AGatewayOfUserSpaceDevicesNeedsNoKernelsWireGuard) {
  Machine machine = GoodMachine();
  const document::Status status = GoodStatus();
  machine.has_wireguard = false;
  machine.devices[0].user_space = true;
  EXPECT_EQ(WorstOf(Diagnose(machine, &status)), Grade::kWarning);
}

}  // namespace
}  // namespace wicket::report
