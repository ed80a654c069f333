// The XDP hook of an interface: what is on it, and putting our program there.
//
// Through libxdp's dispatcher several programs share the hook, where the kernel
// can; otherwise one program has it alone. Which programs may be replaced or
// removed is the caller's to say; no other is touched.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
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
  absl::Duration loaded;  // as Instant::up was then
  bool is_steer = false;  // of whatever version, and of whichever gateway
};

struct Hook {
  struct Close {
    void operator()(xdp_multiprog* raw) const;
  };
  struct Steer {
    ProgramFacts facts;
    xdp_program* in_dispatcher = nullptr;  // null: it is the plain program; owned by `programs`
  };

  // Returns: the steer programs that use one of these maps. Lifetime: the hook's.
  std::vector<const Steer*> ThatUse(const std::set<uint32_t>& map_ids) const;

  std::unique_ptr<xdp_multiprog, Close> programs;
  bool occupied = false;
  bool shared = false;
  XdpMode mode = XdpMode::kNative;  // kNative or kGeneric
  ProgramFacts main;                // the plain program; the dispatcher when shared
  std::vector<Steer> steers;        // of every gateway
};

ProgramFacts Inspect(int program_fd);

// Requires: CAP_SYS_ADMIN; without it every hook looks empty.
Hook ReadHook(int ifindex);

// Puts our program on the hook in place of `replaced`, which are of `before`. There is no gap,
// unless a plain program was attached in another mode. A plain one that is the same program with
// the same maps stays. `served_fd` is our steer_served.
//
// Requires: `skeleton` is opened, not loaded.
// Errors:   FailedPrecondition when a program that is not to be replaced has the hook alone.
absl::Status TakeHook(const std::string& nic, int ifindex, const Hook& before,
                      const std::vector<const Hook::Steer*>& replaced, XdpMode mode, int served_fd,
                      steer_bpf* skeleton);

// Removes this one program from the hook.
absl::Status ReleaseHook(const std::string& nic, int ifindex, const Hook& hook,
                         const Hook::Steer& program);

// What the kernel says of a map. Returns: id 0 when it cannot be asked.
struct MapFacts {
  uint32_t id = 0;
  std::string name;
  uint32_t entries_max = 0;
  uint32_t value_bytes = 0;
};
MapFacts InspectMap(int map_fd);

// Loads our program. Errors: name the capability that is missing.
absl::Status Load(steer_bpf* skeleton);

// The hint for EPERM and EACCES; empty for others.
absl::string_view CapabilityHint(int error_number);

}  // namespace wicket::xsk
