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
#include "base/secret.h"
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

// A port that is served, for which device, what mac1 of its initiations is keyed with, and
// what its cookies are sealed with.
struct Service {
  uint16_t port = 0;
  uint32_t device = 0;
  std::array<uint8_t, 32> mac1_key{};
  std::array<uint8_t, 32> cookie_key{};

  friend bool operator==(const Service&, const Service&) = default;
};
// What the program needs to know of it. The nonces of its cookies begin anew with each call.
steer_device DeviceOf(const Service& service);

// What a shard tells the program, in ktime: that it lives, until when it is under load, and how
// long it is from one cookie to the next; and how many cookie replies the program has sent for it.
struct ShardWords {
  std::atomic<uint64_t>* beat_ns = nullptr;
  std::atomic<uint64_t>* load_until_ns = nullptr;
  const std::atomic<uint64_t>* cookies_sent = nullptr;
  std::atomic<uint64_t>* cookie_interval_ns = nullptr;
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
  // Whether `pin_dir` is where Open can make it. Touches nothing.
  // Errors: FailedPrecondition, its parent lies on no bpffs; or that cannot be looked at.
  static absl::Status CheckPinDir(const std::string& pin_dir);
  // The same for reading counters only. Errors: NotFound when nothing is pinned there.
  static absl::StatusOr<std::unique_ptr<Steering>> OpenReadOnly(const std::string& pin_dir);
  ~Steering() = default;

  // Attaches the program, or takes over the one that is there without a gap.
  // Errors: FailedPrecondition when another tool's program holds the hook; it
  //         is left alone.
  absl::StatusOr<Attachment> Attach(const std::string& nic, XdpMode mode);

  // Removes the maps of versions before this one, unless an interface of this namespace still has
  // one of their programs.
  void ForgetOlder();
  // Removes our program from every interface of this namespace, and the pins.
  // Returns: the names of the interfaces it was removed from.
  static absl::StatusOr<std::vector<std::string>> DetachAll(const std::string& pin_dir);

  // Makes exactly these served. A key that changed does so between two packets.
  absl::Status Serve(const std::vector<Service>& services);
  // Makes `secret` the one that cookies are made with, in place of the one before the last.
  absl::Status AddSecret(const Secret<32>& secret);
  // `cookies_by_tx`: the program answers with cookies itself. Requires: the driver does XDP_TX.
  absl::Status SetNic(int ifindex, uint32_t first_slot, uint32_t queues,
                      const std::array<uint8_t, 6>& mac, bool cookies_by_tx);
  // Whether our program is on the interface's hook, alone or beside others.
  static bool IsAttached(int ifindex);
  absl::Status ForgetNic(int ifindex);
  absl::Status BindSocket(uint32_t slot, int socket_fd);

  // The MAC of an interface; zero when there is none.
  static std::array<uint8_t, 6> MacOf(int ifindex);

  // See STEER_STALE_NS.
  ShardWords Shard(uint32_t slot);

  // From here on the flow's initiations pass to the kernel, but for those that come again soon:
  // see STEER_RETRY_NS and STEER_HISTORY_NS.
  absl::Status NoteFlow(const Endpoint& source, uint16_t port);
  absl::Status ForgetFlow(const Endpoint& source, uint16_t port);

  SteerCounters ReadCounters() const;
  // About how many sources were refused since the last call: within a tenth up to 200 000,
  // at least 500 000 beyond that. Source: linear counting, Whang et al. 1990
  uint64_t TakeSources();
  // What it is of: STEER_SKETCH_WORDS words, which shards write too.
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
  static absl::StatusOr<Mapping> Map(const Fd& map, const char* name, size_t bytes);

  std::string pin_dir_;
  Fd pin_dir_lock_;
  Fd served_, nics_, sockets_, shards_, flows_, secrets_, sketch_, counters_;
  uint32_t newest_secret_ = 0;
  std::map<uint16_t, Service> services_;  // as the program knows them
  Mapping shard_words_, sketch_words_;
};

}  // namespace wicket::xsk
