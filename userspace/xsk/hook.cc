#include "xsk/hook.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>
#include <xdp/libxdp.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/fd.h"
#include "xdp/steer.skel.h"

namespace wicket::xsk {
namespace {

using Program = std::unique_ptr<xdp_program, decltype(&xdp_program__close)>;

constexpr char kProgramName[] = "steer";
constexpr char kMarkMap[] = "steer_served";  // a program of that name with this map is a gateway's

// Puts our program into the place of the plain one, in one atomic step;
// not at all when the two are the same and use the same maps.
absl::Status ReplacePlain(const std::string& nic, int ifindex, const Hook& hook, int served_fd,
                          steer_bpf* skeleton) {
  WICKET_RETURN_IF_ERROR(Load(skeleton));
  const int fresh = bpf_program__fd(skeleton->progs.steer);
  if (hook.main.map_ids.count(InspectMap(served_fd).id) && Inspect(fresh).tag == hook.main.tag) {
    return absl::OkStatus();
  }
  const Fd old(bpf_prog_get_fd_by_id(hook.main.id));
  LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = old.get());
  const uint32_t flags = hook.mode == XdpMode::kGeneric ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
  const int error = bpf_xdp_attach(ifindex, fresh, flags | XDP_FLAGS_REPLACE, &options);
  return error == 0 ? absl::OkStatus()
                    : ErrnoStatus(-error, absl::StrCat("xdp_replace(", nic, ")"));
}

// Attaches through libxdp: beside others where the kernel can, alone otherwise.
absl::Status AttachFresh(const std::string& nic, int ifindex, XdpMode mode, steer_bpf* skeleton) {
  const Program program(xdp_program__from_bpf_obj(skeleton->obj, "xdp"), xdp_program__close);
  if (const long error = libxdp_get_error(program.get()); error != 0) {
    return ErrnoStatus(static_cast<int>(-error), "xdp_program__from_bpf_obj(steer)");
  }
  int error = -EOPNOTSUPP;
  if (mode != XdpMode::kGeneric) {
    error = xdp_program__attach(program.get(), ifindex, XDP_MODE_NATIVE, 0);
  }
  if (error != 0 && mode != XdpMode::kNative && error != -EPERM && error != -EBUSY) {
    error = xdp_program__attach(program.get(), ifindex, XDP_MODE_SKB, 0);
  }
  if (error == 0) return absl::OkStatus();
  return ErrnoStatus(-error, absl::StrCat("xdp_attach(", nic, ", ", ToString(mode), ")"),
                     error == -EBUSY ? "another program holds the hook" : CapabilityHint(-error));
}

}  // namespace

MapFacts InspectMap(int map_fd) {
  bpf_map_info info{};
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(map_fd, &info, &length) != 0) return {};
  return {info.id, info.name, info.max_entries, info.value_size};
}

absl::string_view ToString(XdpMode mode) {
  switch (mode) {
    case XdpMode::kAuto:
      return "auto";
    case XdpMode::kNative:
      return "native";
    case XdpMode::kGeneric:
      return "generic";
  }
  return "?";
}

absl::string_view CapabilityHint(int error_number) {
  return error_number == EPERM || error_number == EACCES
             ? "needs CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN, or root"
             : "";
}

absl::Status Load(steer_bpf* skeleton) {
  const int error = steer_bpf__load(skeleton);
  return error == 0 ? absl::OkStatus()
                    : ErrnoStatus(-error, "bpf(BPF_PROG_LOAD, steer)", CapabilityHint(-error));
}

void Hook::Close::operator()(xdp_multiprog* raw) const { xdp_multiprog__close(raw); }

std::vector<const Hook::Steer*> Hook::ThatUse(const std::set<uint32_t>& map_ids) const {
  std::vector<const Steer*> found;
  for (const Steer& steer : steers) {
    const std::set<uint32_t>& used = steer.facts.map_ids;
    if (std::any_of(used.begin(), used.end(), [&](uint32_t id) { return map_ids.count(id) > 0; })) {
      found.push_back(&steer);
    }
  }
  return found;
}

ProgramFacts Inspect(int program_fd) {
  ProgramFacts facts;
  uint32_t ids[64] = {};
  bpf_prog_info info{};
  info.nr_map_ids = 64;
  info.map_ids = reinterpret_cast<uint64_t>(ids);
  uint32_t length = sizeof(info);
  if (bpf_obj_get_info_by_fd(program_fd, &info, &length) != 0) return facts;
  facts.id = info.id;
  facts.name = info.name;
  facts.loaded = absl::Nanoseconds(info.load_time);
  memcpy(facts.tag.data(), info.tag, sizeof(info.tag));
  for (uint32_t i = 0; i < info.nr_map_ids && i < 64; ++i) {
    facts.map_ids.insert(ids[i]);
    const Fd map(bpf_map_get_fd_by_id(ids[i]));
    if (map.valid() && InspectMap(map.get()).name == kMarkMap) {
      facts.is_steer = facts.name == kProgramName;
    }
  }
  return facts;
}

Hook ReadHook(int ifindex) {
  Hook hook;
  xdp_multiprog* raw = xdp_multiprog__get_from_ifindex(ifindex);
  if (raw == nullptr || libxdp_get_error(raw) != 0) return hook;
  hook.programs.reset(raw);
  hook.occupied = true;
  hook.shared = !xdp_multiprog__is_legacy(raw);
  hook.mode =
      xdp_multiprog__attach_mode(raw) == XDP_MODE_SKB ? XdpMode::kGeneric : XdpMode::kNative;
  if (xdp_program* main = xdp_multiprog__main_prog(raw)) hook.main = Inspect(xdp_program__fd(main));
  if (!hook.shared) {
    if (hook.main.is_steer) hook.steers.push_back({hook.main, nullptr});
    return hook;
  }
  for (xdp_program* program = xdp_multiprog__next_prog(nullptr, raw); program != nullptr;
       program = xdp_multiprog__next_prog(program, raw)) {
    ProgramFacts facts = Inspect(xdp_program__fd(program));
    if (facts.is_steer) hook.steers.push_back({std::move(facts), program});
  }
  return hook;
}

absl::Status ReleaseHook(const std::string& nic, int ifindex, const Hook& hook,
                         const Hook::Steer& program) {
  int error = 0;
  if (program.in_dispatcher != nullptr) {
    error = xdp_program__detach(program.in_dispatcher, ifindex,
                                hook.mode == XdpMode::kGeneric ? XDP_MODE_SKB : XDP_MODE_NATIVE, 0);
  } else {
    const Fd old(bpf_prog_get_fd_by_id(program.facts.id));
    LIBBPF_OPTS(bpf_xdp_attach_opts, options, .old_prog_fd = old.get());
    const uint32_t flags = hook.mode == XdpMode::kGeneric ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
    error = bpf_xdp_detach(ifindex, flags | XDP_FLAGS_REPLACE, &options);
  }
  return error == 0 ? absl::OkStatus() : ErrnoStatus(-error, absl::StrCat("xdp_detach(", nic, ")"));
}

absl::Status TakeHook(const std::string& nic, int ifindex, const Hook& before,
                      const std::vector<const Hook::Steer*>& replaced, XdpMode mode, int served_fd,
                      steer_bpf* skeleton) {
  if (before.occupied && !before.shared && replaced.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(nic, ": another XDP program, \"", before.main.name, "\" (id ", before.main.id,
                     "), holds the hook and does not share it; nothing was changed (remove it with "
                     "`ip link set ",
                     nic, " xdp off`, or load it through libxdp so that both can run)"));
  }
  const bool right_mode = mode == XdpMode::kAuto || mode == before.mode;
  if (before.occupied && !before.shared) {
    if (right_mode) return ReplacePlain(nic, ifindex, before, served_fd, skeleton);
    // Modes cannot be swapped.
    WICKET_RETURN_IF_ERROR(ReleaseHook(nic, ifindex, before, *replaced.front()));
  }
  WICKET_RETURN_IF_ERROR(AttachFresh(nic, ifindex, mode, skeleton));
  if (!before.shared) return absl::OkStatus();
  // The new one runs; the old ones may go. Each step is one atomic replacement.
  for (const Hook::Steer* old : replaced) {
    WICKET_RETURN_IF_ERROR(ReleaseHook(nic, ifindex, before, *old));
  }
  return absl::OkStatus();
}

}  // namespace wicket::xsk
