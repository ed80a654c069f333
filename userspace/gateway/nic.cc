#include "gateway/nic.h"

#include <linux/ethtool.h>
#include <linux/if_vlan.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

namespace wicket::gateway {
namespace {

// The first run of `count` free slots. Returns: STEER_SLOTS_MAX when there is none.
uint32_t FindSlots(const std::vector<bool>& used, uint32_t count) {
  uint32_t run = 0;
  for (uint32_t slot = 0; slot < STEER_SLOTS_MAX; ++slot) {
    run = used[slot] ? 0 : run + 1;
    if (run == count) return slot + 1 - count;
  }
  return STEER_SLOTS_MAX;
}

// Whether frames of the VLANs on the interface reach the program without their tags.
bool TakesTagsOff(const std::string& nic) {
  if (access("/proc/net/vlan/config", F_OK) != 0) return false;  // SIOCGIFVLAN would load it
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ethtool_value flags{ETHTOOL_GFLAGS, 0};
  ifreq request{};
  absl::SNPrintF(request.ifr_name, sizeof(request.ifr_name), "%s", nic);
  request.ifr_data = reinterpret_cast<char*>(&flags);
  if (!fd.valid() || ioctl(fd.get(), SIOCETHTOOL, &request) != 0) return false;
  if (!(flags.data & ETH_FLAG_RXVLAN)) return false;
  const std::unique_ptr<struct if_nameindex, decltype(&if_freenameindex)> interfaces(
      if_nameindex(), if_freenameindex);
  for (const struct if_nameindex* other = interfaces.get(); other && other->if_index; ++other) {
    vlan_ioctl_args vlan{};
    vlan.cmd = GET_VLAN_REALDEV_NAME_CMD;
    absl::SNPrintF(vlan.device1, sizeof(vlan.device1), "%s", other->if_name);
    if (ioctl(fd.get(), SIOCGIFVLAN, &vlan) == 0 && nic == vlan.u.device2) return true;
  }
  return false;
}

}  // namespace

absl::Status Nic::Up(reinject::Mode wanted) {
  WICKET_ASSIGN_OR_RETURN(attachment_, context_.steering->Attach(config_.name, config_.xdp));
  mac_ = xsk::MacOf(attachment_.ifindex);
  absl::Cleanup undo = [this] { Down(); };
  WICKET_RETURN_IF_ERROR(SetReinject(wanted));
  WICKET_RETURN_IF_ERROR(StartLanes());
  WICKET_RETURN_IF_ERROR(context_.steering->SetNic(attachment_.ifindex, first_slot_, queues_, mac_,
                                                   config_.cookies_by_tx));
  std::move(undo).Cancel();
  up_since_ns_ = SteadyNanos();
  if (TakesTagsOff(config_.name)) {
    Log(LogLevel::kWarning, config_.name,
        ": VLANs are on it, and it takes their tags off before XDP ",
        "sees them: cookie replies will leave without (`ethtool -K ", config_.name,
        " rxvlan off`)");
  }
  return absl::OkStatus();
}

absl::Status Nic::SetReinject(reinject::Mode wanted) {
  absl::Status live = absl::FailedPreconditionError(
      "XDP is generic here, and a frame put into the NIC would pass our program again");
  if (attachment_.mode == xsk::XdpMode::kNative) {
    live = context_.injector->ProbeLive(attachment_.ifindex);
  }
  if (wanted == reinject::Mode::kLive && !live.ok()) {
    return Annotate(live, absl::StrCat(config_.name, ": reinject = \"live\" is not possible here"));
  }
  reinject_ = wanted;
  reinject_reason_ = "configured";
  if (wanted == reinject::Mode::kAuto) {
    reinject_ = live.ok() ? reinject::Mode::kLive : reinject::Mode::kRaw;
    reinject_reason_ = live.ok() ? "kernel and NIC take live frames" : std::string(live.message());
  }
  return absl::OkStatus();
}

absl::Status Nic::StartLanes() {
  queues_ = xsk::QueueCount(config_.name);
  first_slot_ = FindSlots(*context_.slots_used, queues_);
  if (first_slot_ == STEER_SLOTS_MAX) {
    const uint32_t queues = queues_;
    queues_ = 0;
    return absl::ResourceExhaustedError(absl::StrCat(
        config_.name, ": ", queues, " RX queues do not fit; all NICs together may have ",
        static_cast<int>(STEER_SLOTS_MAX), " (lower it with `ethtool -L ", config_.name, "`)"));
  }
  std::fill_n(context_.slots_used->begin() + first_slot_, queues_, true);
  for (uint32_t queue = 0; queue < queues_; ++queue) WICKET_RETURN_IF_ERROR(StartLane(queue));
  return absl::OkStatus();
}

absl::Status Nic::StartLane(uint32_t queue) {
  const uint32_t slot = first_slot_ + queue;
  WICKET_ASSIGN_OR_RETURN(
      std::unique_ptr<xsk::Socket> socket,
      xsk::Socket::Open(
          {.nic = config_.name,
           .queue = queue,
           .force_copy = config_.force_copy || attachment_.mode == xsk::XdpMode::kGeneric}));
  WICKET_ASSIGN_OR_RETURN(store::Snapshot snapshot, context_.store->NewSnapshot());
  Lane lane;
  lane.verdicts = std::make_unique<intake::VerdictCounters>();
  shard::Shard::Options options;
  options.name = absl::StrCat(config_.name, "/", queue);
  options.words = context_.steering->Shard(slot);
  if (context_.pin_threads) {
    options.cpu = static_cast<int>(slot % static_cast<uint32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
  }
  std::vector<intake::DemandQueue*> queues;
  for (installer::Installer* installer : context_.installers) {
    lane.queues.push_back(std::make_shared<intake::DemandQueue>(intake::kDemandQueueCapacity));
    queues.push_back(lane.queues.back().get());
    installer->AddQueue(lane.queues.back());
    options.wake_fds.push_back(installer->wake_fd());
  }
  const int socket_fd = socket->fd();
  lane.sightings = std::make_unique<intake::SightingQueue>(intake::kSightingQueueCapacity);
  auto pipeline = std::make_unique<intake::Pipeline>(
      std::move(snapshot), queues, attachment_.ifindex, lane.verdicts.get(),
      intake::SightingSink{&context_.events->watchers(), lane.sightings.get(),
                           context_.steering->Sketch()},
      context_.x25519);
  if (!pipeline->batches() && context_.x25519 != crypto::X25519Backend::kPortable) {
    Log(LogLevel::kWarning, config_.name, "/", queue, ": handshakes are proven one at a time: ",
        "their keys cannot be locked into memory (raise RLIMIT_MEMLOCK or give CAP_IPC_LOCK)");
  }
  lane.shard = std::make_unique<shard::Shard>(std::move(options), std::move(socket),
                                              std::move(pipeline), context_.devices);
  lanes_.push_back(std::move(lane));
  return context_.steering->BindSocket(slot, socket_fd);
}

void Nic::Down() {
  if (!up()) return;
  if (const absl::Status status = context_.steering->ForgetNic(attachment_.ifindex); !status.ok()) {
    Log(LogLevel::kWarning, config_.name, ": ", status.message());
  }
  for (Lane& lane : lanes_) lane.shard.reset();
  for (Lane& lane : lanes_) {
    for (size_t device = 0; device < lane.queues.size(); ++device) {
      context_.installers[device]->CloseQueue(lane.queues[device].get());
    }
    for (size_t i = 0; i < intake::kVerdicts; ++i) {
      const auto verdict = static_cast<intake::Verdict>(i);
      context_.verdicts->Add(verdict, lane.verdicts->Read(verdict));
    }
  }
  lanes_.clear();
  std::fill_n(context_.slots_used->begin() + first_slot_, queues_, false);
  queues_ = 0;
  attachment_ = {};
}

absl::string_view Nic::Changed(const NicLook* look) const {
  char name[IF_NAMESIZE];
  if (if_indextoname(static_cast<unsigned>(attachment_.ifindex), name) == nullptr) {
    return "the interface went away";
  }
  if (look == nullptr || look->began_ns < up_since_ns_) return {};
  const auto it = look->by_ifindex.find(attachment_.ifindex);
  if (it == look->by_ifindex.end()) return {};  // it could not be asked
  if (queues_ != it->second.queues) return "the interface has another number of queues";
  if (mac_ != it->second.mac) return "the interface has another MAC";
  if (!it->second.serves) return "somebody removed or replaced the XDP program";
  return {};
}

void Nic::DrainSightings(const std::vector<DeviceConfig>& devices) {
  for (Lane& lane : lanes_) {
    while (const intake::Sighting* seen = lane.sightings->Peek()) {
      event::Event event{.at = seen->at, .source = seen->source};
      if (seen->device < devices.size()) event.device = devices[seen->device].name;
      if (seen->public_key != PublicKey{}) event.peer = seen->public_key;
      if (seen->verdict != intake::Verdict::kProven) {
        event.kind = event::Kind::kRefused;
        event.reason = intake::ToString(seen->verdict);
      }
      context_.events->Append(std::move(event));
      lane.sightings->Release();
    }
  }
}

void Nic::AddVerdicts(std::map<std::string, uint64_t>* verdicts) const {
  for (const Lane& lane : lanes_) {
    for (size_t i = 0; i < intake::kVerdicts; ++i) {
      const auto verdict = static_cast<intake::Verdict>(i);
      (*verdicts)[intake::ToString(verdict)] += lane.verdicts->Read(verdict);
    }
  }
}

void Nic::AddThreads(std::vector<document::ThreadStatus>* threads) const {
  for (size_t queue = 0; queue < lanes_.size(); ++queue) {
    threads->push_back({.name = absl::StrCat(config_.name, "/", queue),
                        .silent_s = SecondsSince(lanes_[queue].shard->progress_ns())});
  }
}

document::QueueStatus Nic::StatusOf(const Lane& lane, Histogram* waits) {
  Histogram own_waits;
  lane.shard->AddWaits(SteadyNanos(), &own_waits);
  waits->Add(own_waits);
  const xsk::SocketStats stats = lane.shard->socket_stats();
  document::QueueStatus status{.ring_full = stats.ring_full,
                               .ring_dropped = stats.dropped,
                               .under_load = lane.shard->under_load(),
                               .wait_p99_ms = static_cast<double>(own_waits.Quantile(0.99)) / 1e6};
  for (size_t i = 0; i < intake::kVerdicts; ++i) {
    status.initiations += lane.verdicts->Read(static_cast<intake::Verdict>(i));
  }
  // Each is counted as kCookie too.
  status.initiations -=
      std::min(status.initiations, lane.verdicts->Read(intake::Verdict::kCookieLost));
  return status;
}

document::NicStatus Nic::Status() const {
  document::NicStatus status;
  status.name = config_.name;
  status.xdp_mode = "away";
  if (!up()) return status;
  status.xdp_mode = std::string(xsk::ToString(attachment_.mode));
  status.shared = attachment_.shared;
  status.reinject = std::string(reinject::ToString(reinject_));
  status.reinject_reason = reinject_reason_;
  status.queues = queues_;
  status.zero_copy = !lanes_.empty();
  Histogram waits, waits_ever, ring_waiting;
  for (const Lane& lane : lanes_) {
    const document::QueueStatus& queue = status.per_queue.emplace_back(StatusOf(lane, &waits));
    waits_ever.Add(lane.shard->waits_ever());
    ring_waiting.Add(lane.shard->ring_waiting());
    status.zero_copy &= lane.shard->zero_copy();
    status.ring_full += queue.ring_full;
    status.ring_dropped += queue.ring_dropped;
    status.under_load |= queue.under_load;
    status.load_raised += lane.shard->load_raised();
  }
  status.wait_p99_ms = static_cast<double>(waits.Quantile(0.99)) / 1e6;
  status.wait = document::SecondsOf(waits_ever);
  status.ring_waiting = document::FramesOf(ring_waiting);
  return status;
}

std::string Nic::Describe() const {
  const document::NicStatus status = Status();
  return absl::StrCat(
      config_.name, ": XDP ", status.xdp_mode, status.shared ? " beside other programs" : "",
      attachment_.taken_over ? ", taken over" : ", attached", "; ", queues_,
      queues_ == 1 ? " queue, " : " queues, ", status.zero_copy ? "zero copy" : "copy mode",
      "; reinject ", status.reinject, " (", status.reinject_reason, ")",
      config_.cookies_by_tx ? "; cookies by XDP_TX" : "");
}

}  // namespace wicket::gateway
