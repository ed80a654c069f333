#include "report/service_checks.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"

namespace wicket::report {
namespace {

constexpr absl::Duration kStatusAgeMax = absl::Seconds(5);
constexpr uint64_t kForgedMin = 20;
constexpr double kSilentMax_s = 2, kTaskMax_s = 10, kNearlyFull = 0.9;

// What waits for a thread that no packet waits for; empty: packets do.
absl::string_view WhatWaits(absl::string_view thread) {
  if (thread == "committer") return "changes of peers wait; clients of stored peers get in";
  if (thread == "nic watch") return "something holds RTNL: NICs that come or change are not seen";
  if (thread == "control") return "wicket and wicket-edge get no answer; clients get in";
  if (thread == "log") return "standard error or the journal takes no line; they are dropped";
  return "";
}

// Packets wait for shards and installers. The others have tasks that may take their time, such as
// an import by another process.
void CheckThread(const document::ThreadStatus& thread, Findings* out) {
  const absl::string_view waits = WhatWaits(thread.name);
  if (thread.silent_s <= (waits.empty() ? kSilentMax_s : kTaskMax_s)) return;
  const std::string what = absl::StrFormat("%s has hung for %.0f s", thread.name, thread.silent_s);
  if (waits.empty()) {
    out->Fail("threads", what, "what it serves passes to the kernel", "journalctl -u wicketd");
  } else {
    out->Warn("threads", what, std::string(waits), "journalctl -u wicketd");
  }
}

}  // namespace

void CheckService(const document::Status* status, Findings* out) {
  if (status == nullptr) {
    return out->Fail(kServiceCheck, "does not run", "only peers that are installed are served",
                     "systemctl start wicketd");
  }
  const absl::Duration age = WallNow() - status->written;
  if (age > kStatusAgeMax) {
    out->Fail(kServiceCheck,
              absl::StrCat("its status is ",
                           absl::FormatDuration(absl::Floor(age, absl::Seconds(1))), " old"),
              "it hangs, or was killed", "systemctl restart wicketd");
  } else {
    out->Ok(kServiceCheck, absl::StrCat(status->version, ", process ", status->pid));
  }
  for (const document::ThreadStatus& thread : status->threads) {
    CheckThread(thread, out);
  }
  if (status->clock_steps_lately > 0) {
    out->Warn("clock steps", absl::StrCat(status->clock_steps_lately, " in the last ten minutes"),
              "expired peers are kept for ten more minutes after each",
              "one time daemon, and no other that sets the clock: timedatectl timesync-status");
  }
  if (status->defence.attack) {
    out->Warn("attack", absl::StrCat("under attack, about ", status->defence.sources, " sources"),
              "clients that answer a cookie get in all the same",
              "wicket events -f; docs/operations.md, Under attack");
  }
}

void CheckProgram(const document::Status& status, Findings* out) {
  if (const uint64_t faults = document::CountOf(status.steering, "pass_fault"); faults > 0) {
    out->Warn("XDP program", absl::StrCat(faults, " packets passed because a helper failed"),
              "this is a bug", "report it with: uname -r");
  }
  // A few may be anybody's. A flood of forged ones is told of as an attack.
  const uint64_t forged = document::CountOf(status.steering, "drop_mac1");
  const uint64_t right = document::CountOf(status.verdicts, "proven") +
                         document::CountOf(status.steering, "pass_flow");
  if (forged >= kForgedMin && forged > right && !status.defence.attack) {
    out->Warn("clients' key", absl::StrCat(forged, " initiations are made for another public key"),
              "clients have an old key of this gateway, or its private key was replaced",
              "compare the clients' PublicKey with: wg show all public-key");
  }
}

void CheckServedNic(const document::NicStatus& nic, Findings* out) {
  if (nic.xdp_mode == "away") {
    return out->Fail("served",
                     nic.away_reason.empty() ? "no" : absl::StrCat("no: ", nic.away_reason),
                     "its newcomers are not let in",
                     "mend what it says; wicketd tries again by itself, every 4 s at least");
  }
  if (nic.xdp_mode == "generic") {
    out->Warn("XDP mode", "generic", "a flood costs several times as much as in the driver",
              "a driver with native XDP; see docs/operations.md, Drivers");
  } else {
    out->Ok("XDP mode", absl::StrCat(nic.xdp_mode, nic.zero_copy ? ", zero copy" : ", copy mode"));
  }
  if (nic.lost_lately > 0) {
    out->Warn("rings", absl::StrCat(nic.lost_lately, " frames were lost in the last ten minutes"),
              "initiations did not reach a shard; expected during a flood only",
              absl::StrCat("more queues: ethtool -L ", nic.name, " combined N"));
  }
}

void CheckServedDevice(const document::DeviceStatus& device, Findings* out) {
  if (device.backend == "away") {
    return out->Fail(
        "served", device.away_reason.empty() ? "no" : absl::StrCat("no: ", device.away_reason),
        "its clients are not let in", "mend what it says; wicketd tries again by itself");
  }
  if (device.silent_s > kSilentMax_s) {
    out->Fail("answers", absl::StrFormat("not for %.0f s", device.silent_s),
              "newcomers are not let in while it hangs",
              "look for a process that holds RTNL: ps -eo pid,stat,wchan:32,cmd | grep ' D'");
  } else {
    out->Ok("answers", absl::StrCat(device.backend, ", ", device.installed, " peers of ours"));
  }
  const auto nearly = [&](uint64_t used, uint64_t max, const char* setting, const char* why) {
    if (max == 0 || static_cast<double>(used) < kNearlyFull * static_cast<double>(max)) return;
    out->Warn(setting, absl::StrCat(used, " of ", max), why,
              absl::StrCat("raise ", setting, " and run: wicket reload"));
  };
  nearly(device.installed, device.installed_max, "installed_max",
         "newcomers wait until a session is dead");
  nearly(device.installed_unconfirmed, device.probation_max / 2, "probation_max",
         "senders without a cookie are turned away");
  if (device.install_errors_lately > 0) {
    out->Warn("installs",
              absl::StrCat(device.install_errors_lately,
                           " peers were refused by the device in the last ten minutes"),
              "these clients cannot connect", "journalctl -u wicketd says why");
  }
}

}  // namespace wicket::report
