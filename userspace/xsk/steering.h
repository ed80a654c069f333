// The XDP program on the NICs, and the maps it shares with us.
//
// Program and maps outlive the daemon: the maps are pinned (pins.h), the program
// stays attached, and the next start takes both over. Without a daemon the program
// passes everything, since its sockets are gone and its heartbeats stale.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/fd.h"
#include "base/secret.h"
#include "base/status.h"
#include "xdp/steer_abi.h"
#include "xsk/flows.h"
#include "xsk/hook.h"
#include "xsk/interface.h"
#include "xsk/owner.h"
#include "xsk/pins.h"

namespace wicket::xsk {

struct Attachment {
  int ifindex = 0;
  XdpMode mode = XdpMode::kNative;  // never kAuto
  bool shared = false;              // through libxdp's dispatcher, beside other programs
  bool taken_over = false;          // our program was there before, in the same mode
};

// A port that is served, and what the program needs of its device: the keys that the mac1 of
// its initiations is made with, and that its cookies are sealed with.
struct Service {
  uint16_t port = 0;
  uint32_t device = 0;  // its index in the configuration
  std::array<uint8_t, 32> mac1_key{};
  std::array<uint8_t, 32> cookie_key{};

  friend bool operator==(const Service&, const Service&) = default;
};
// The service's value in steer_served. Each call draws a new prefix for the nonces of its cookies.
steer_device DeviceOf(const Service& service);

// A slot's words of steer_shard.
struct ShardWords {
  std::atomic<uint64_t>* beat_ns = nullptr;
  std::atomic<uint64_t>* load_until_ns = nullptr;
  const std::atomic<uint64_t>* cookies_sent = nullptr;
  std::atomic<uint64_t>* cookie_interval_ns = nullptr;
};

using SteerCounters = std::array<uint64_t, STEER_COUNT_MAX>;
// By the texts of STEER_COUNTS.
std::map<std::string, uint64_t> NamedCounters(const SteerCounters& counters);

// Thread: flows(), ReadCounters(), Serves(), ForgetOlder(), Shard() and Sketch() by any, and what
//         flows() returns too; all else by one, the gateway's.
class Steering {
 public:
  // Makes or reuses the maps pinned under `pin_dir`, which must lie on a bpffs.
  // /sys/fs/bpf is mounted when it is not. Slots given out before are forgotten:
  // until SetNic, the program passes everything.
  // Errors: each names the call and, for capabilities, the missing one.
  //         Unavailable when another process has the lock of `pin_dir`.
  static absl::StatusOr<std::unique_ptr<Steering>> Open(const std::string& pin_dir);
  // For ReadCounters() only. Errors: NotFound when nothing is pinned there.
  static absl::StatusOr<std::unique_ptr<Steering>> OpenReadOnly(const std::string& pin_dir);
  ~Steering() = default;

  // Attaches the program, or puts it into the place of our older one; see TakeHook(). A program
  // whose gateway is gone is replaced too, and the log says so. Through libxdp's dispatcher it
  // runs beside programs of other tools, but not beside a living gateway's: a queue has one AF_XDP
  // socket.
  // Errors: FailedPrecondition when the program of another tool holds the hook alone, or that of a
  //         living gateway is on it. It names that one, and leaves it there.
  absl::StatusOr<Attachment> Attach(const std::string& nic, XdpMode mode);
  // Whether our program, with our maps, is on the interface's hook, alone or beside others.
  bool Serves(int ifindex) const;
  // Whether some gateway's program is there.
  static bool IsAttached(int ifindex);

  // Removes the maps of older versions, unless an interface still has one of their programs.
  void ForgetOlder();

  // Makes exactly these served. A key that changed does so between two packets.
  absl::Status Serve(const std::vector<Service>& services);
  // Makes `secret` the one that cookies are made with, in place of the one before the last.
  absl::Status AddSecret(const Secret<32>& secret);
  // Steers the interface's queues to the slots from `first_slot` on.
  // `cookies_by_tx`: the program answers with cookies itself. Requires: the driver does XDP_TX.
  absl::Status SetNic(int ifindex, uint32_t first_slot, uint32_t queues,
                      const std::array<uint8_t, 6>& mac, bool cookies_by_tx);
  // Passes what comes in by the interface.
  absl::Status ForgetNic(int ifindex);
  absl::Status BindSocket(uint32_t slot, int socket_fd);
  // Requires: slot < STEER_SLOTS_MAX, and Open(). Lifetime: this object's.
  ShardWords Shard(uint32_t slot);

  Flows& flows() { return flows_; }

  // Sums over all CPUs, ever.
  SteerCounters ReadCounters() const;
  // About how many sources were refused since the last call: within a tenth up to 500 000, and
  // never more than 726 817. Source: linear counting, Whang et al. 1990
  uint64_t TakeSources();
  // The STEER_SKETCH_WORDS words that it counts, which shards write too. Lifetime: this object's.
  std::atomic<uint64_t>* Sketch() {
    return static_cast<std::atomic<uint64_t>*>(sketch_words_.get());
  }

 private:
  struct Unmap {
    size_t bytes;
    void operator()(void* words) const;
  };
  using Mapping = std::unique_ptr<void, Unmap>;

  explicit Steering(std::string pin_dir) : pin_dir_(std::move(pin_dir)) {}
  absl::Status OpenMaps(bool create);
  // Returns: those programs of the hook that ours is to replace, and of those the owners that
  //          are gone. Errors: a living gateway's program is on the hook.
  struct Predecessors {
    std::vector<const Hook::Steer*> programs;
    std::vector<Owner> gone;
  };
  absl::StatusOr<Predecessors> FindPredecessors(const std::string& nic, const Hook& hook) const;
  static absl::StatusOr<Mapping> Map(const Fd& map, const char* name, size_t bytes);

  std::string pin_dir_;
  mutable std::mutex hooks_;  // held while libxdp looks at a hook or changes it
  Fd pin_dir_lock_;
  struct Maps {
    Fd served, nics, sockets, shards, secrets, sketch, counters, owner;
  };
  Maps maps_;
  Flows flows_;
  uint32_t newest_secret_ = 0;
  std::map<uint16_t, Service> services_;  // as the program knows them
  Mapping shard_words_, sketch_words_;
};

}  // namespace wicket::xsk
