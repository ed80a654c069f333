#include "installer/returner.h"

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "reinject/backlog.h"

namespace wicket::installer {
namespace {

// A batch that has to wait for room waits for at least this much.
constexpr uint64_t kRoomMin = 16;
constexpr uint64_t kTellInterval_ns = 1'000'000'000;

}  // namespace

std::unique_ptr<reinject::Pacer> PacerFor(const wgdev::Device& device, const std::string& name,
                                          reinject::TurnClock* turns) {
  absl::StatusOr<std::unique_ptr<reinject::Backlog>> backlog =
      device.backend() == "netlink"
          ? reinject::Backlog::Open(wgdev::InterfaceIndex(name))
          : absl::UnimplementedError("a user-space WireGuard does not report it");
  reinject::Pacer::Waiting waiting = [](uint64_t) { return std::nullopt; };
  if (backlog.ok()) {
    Log(LogLevel::kInfo, About{name}, "served as fast as it answers");
    waiting = [backlog = std::move(*backlog)](uint64_t now_ns) { return backlog->Waiting(now_ns); };
  } else {
    Log(LogLevel::kInfo, About{name},
        "served as fast as this machine should answer; its backlog is ",
        "not known: ", backlog.status().message());
  }
  return std::make_unique<reinject::Pacer>(reinject::PaceFor(device.backend()), std::move(waiting),
                                           turns);
}

absl::Status Returner::Open() {
  WICKET_ASSIGN_OR_RETURN(injector_, reinject::Injector::Open());
  return absl::OkStatus();
}

reinject::Mode Returner::ModeOf(int ifindex) const {
  for (const NicRoute& route : routes_) {
    if (route.ifindex == ifindex) return route.mode;
  }
  return reinject::Mode::kWait;
}

bool Returner::Inverts() const {
  return std::any_of(routes_.begin(), routes_.end(),
                     [](const NicRoute& route) { return route.mode == reinject::Mode::kInvert; });
}

size_t Returner::Room(size_t wanted) {
  held_back_ = false;
  const bool gives_back = std::any_of(routes_.begin(), routes_.end(), [](const NicRoute& route) {
    return reinject::GivesBack(route.mode);
  });
  if (wanted == 0 || !gives_back) return wanted;
  const uint64_t room = pacer_->Room(SteadyNanos());
  if (room >= std::min<uint64_t>(wanted, kRoomMin)) return std::min<uint64_t>(wanted, room);
  held_back_ = true;
  journal_->Add(Count::kHeldBack);
  return 0;
}

bool Returner::GiveBack(intake::Demand* demand) {
  const reinject::Packet packet{
      {demand->frame.data(), demand->frame_bytes}, demand->ip_offset, demand->udp_offset};
  const reinject::Mode mode = ModeOf(demand->ifindex);
  const bool gives_back = reinject::GivesBack(mode);
  absl::Status status;
  if (gives_back) {
    status = mode == reinject::Mode::kLive ? injector_->InjectLive(packet, demand->ifindex)
                                           : injector_->InjectRaw(packet);
    journal_->Add(status.ok() ? Count::kReinjected : Count::kReinjectErrors);
  }
  const uint64_t now_ns = SteadyNanos();
  journal_->RecordGivenBack(now_ns - demand->seen_ns, now_ns);
  if (!status.ok() && now_ns - told_ns_ >= kTellInterval_ns) {
    told_ns_ = now_ns;
    Log(LogLevel::kWarning, About{journal_->device()}, "giving back: ", status.message());
  }
  const bool given = gives_back && status.ok();
  given_back_ += given;
  return given;
}

void Returner::Charge() {
  if (given_back_ == 0) return;
  pacer_->Charge(given_back_, SteadyNanos());
  if (pacer_->by_time()) journal_->Add(Count::kByTime, given_back_);
  given_back_ = 0;
}

}  // namespace wicket::installer
