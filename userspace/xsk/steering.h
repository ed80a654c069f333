// The XDP program on the NICs, and the maps it shares with us.
//
// Program and maps outlive the daemon: the maps are pinned, the program stays
// attached, and the next start takes both over. Without a daemon the program
// passes everything, since its sockets are gone and its heartbeats stale.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/status.h"
#include "xdp/steer_abi.h"
#include "xsk/hook.h"

namespace wicket::xsk {

struct Attachment {
  int ifindex = 0;
  XdpMode mode = XdpMode::kNative;  // never kAuto
  bool shared = false;              // through libxdp's dispatcher, beside other programs
  bool taken_over = false;          // was attached before we came
};

using SteerCounters = std::array<uint64_t, STEER_COUNT_MAX>;
// By the texts of STEER_COUNTS.
std::map<std::string, uint64_t> NamedCounters(const SteerCounters& counters);

// Thread: Attach, Detach, Serve and SetNic by one thread; NoteFlow,
//         ForgetFlow, BindSocket and ReadCounters by any.
class Steering {
 public:
  // Makes or reuses the maps pinned under `pin_dir`, which must lie on a bpffs.
  // /sys/fs/bpf is mounted when it is not. Slots given out before are forgotten:
  // until SetNic, the program passes everything.
  // Errors: each names the call and, for capabilities, the missing one.
  //         FailedPrecondition when another process holds the same pins.
  static absl::StatusOr<std::unique_ptr<Steering>> Open(const std::string& pin_dir);
  // The same for reading counters only. Errors: NotFound when nothing is pinned there.
  static absl::StatusOr<std::unique_ptr<Steering>> OpenReadOnly(const std::string& pin_dir);
  ~Steering();

  // Attaches the program, or takes over the one that is there without a gap.
  // Errors: FailedPrecondition when another tool's program holds the hook; it
  //         is left alone.
  absl::StatusOr<Attachment> Attach(const std::string& nic, XdpMode mode);

  // Removes our program from every interface of this namespace, and the pins.
  // Returns: the names of the interfaces it was removed from.
  static absl::StatusOr<std::vector<std::string>> DetachAll(const std::string& pin_dir);

  // Makes exactly these (port, device) pairs served.
  absl::Status Serve(const std::vector<std::pair<uint16_t, uint32_t>>& ports);
  absl::Status SetNic(int ifindex, uint32_t first_slot, uint32_t queues,
                      const std::array<uint8_t, 6>& mac);
  // Whether our program is on the interface's hook, alone or beside others.
  static bool IsAttached(int ifindex);
  absl::Status ForgetNic(int ifindex);
  absl::Status BindSocket(uint32_t slot, int socket_fd);

  // The MAC of an interface; zero when there is none.
  static std::array<uint8_t, 6> MacOf(int ifindex);

  // The word a shard writes the time into; see STEER_STALE_NS.
  std::atomic<uint64_t>* Beat(uint32_t slot);

  // From here on the flow's initiations pass to the kernel.
  absl::Status NoteFlow(const Endpoint& source, uint16_t port);
  absl::Status ForgetFlow(const Endpoint& source, uint16_t port);

  SteerCounters ReadCounters() const;

 private:
  explicit Steering(std::string pin_dir) : pin_dir_(std::move(pin_dir)) {}
  absl::Status OpenMaps(bool create);

  std::string pin_dir_;
  Fd pin_dir_lock_;
  Fd served_, nics_, sockets_, beats_, flows_, counters_;
  void* beat_words_ = nullptr;
};

// CLOCK_MONOTONIC in ns: the clock of bpf_ktime_get_ns and of the heartbeats.
uint64_t KtimeNanos();

}  // namespace wicket::xsk
