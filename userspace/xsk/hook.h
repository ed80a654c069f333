// The XDP hook of an interface: what is on it, and putting our program there.
//
// The hook belongs to nobody. Through libxdp's dispatcher several programs share
// it, where the kernel can; otherwise one program has it alone. Another's program
// is never replaced or removed.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "base/status.h"

struct steer_bpf;
struct xdp_multiprog;
struct xdp_program;

namespace wicket::xsk {

enum class XdpMode { kAuto, kNative, kGeneric };
absl::string_view ToString(XdpMode mode);

// What the kernel says of a loaded program.
struct ProgramFacts {
  uint32_t id = 0;
  std::string name;
  std::set<uint32_t> map_ids;
  std::array<uint8_t, 8> tag{};
  bool ours = false;  // of whatever version
};

struct Hook {
  struct Close {
    void operator()(xdp_multiprog* raw) const;
  };
  std::unique_ptr<xdp_multiprog, Close> programs;
  bool occupied = false;
  bool shared = false;
  XdpMode mode = XdpMode::kNative;            // kNative or kGeneric
  ProgramFacts main;                          // the plain program; the dispatcher when shared
  xdp_program* ours_in_dispatcher = nullptr;  // owned by `programs`
  ProgramFacts ours;
};

ProgramFacts Inspect(int program_fd);

// Requires: CAP_SYS_ADMIN; without it every hook looks empty.
Hook ReadHook(int ifindex);

// Puts our program on the hook, or into the place of an older one of ours without
// a gap. `served_fd` is a map of ours, to tell whether the older one uses it too.
//
// Errors: FailedPrecondition when another's program has the hook alone.
absl::Status TakeHook(const std::string& nic, int ifindex, const Hook& before, XdpMode mode,
                      int served_fd, steer_bpf* skeleton);

// Removes our program from the hook, and nobody else's.
absl::Status ReleaseHook(const std::string& nic, int ifindex, const Hook& hook);

// The kernel's id of a map; 0 when it cannot be asked.
uint32_t MapId(int map_fd);

// Loads our program. Errors: name the capability that is missing.
absl::Status Load(steer_bpf* skeleton);

// The hint for EPERM and EACCES; empty for others.
absl::string_view CapabilityHint(int error_number);

}  // namespace wicket::xsk
