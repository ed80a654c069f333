#include "gateway/nics.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "wgdev/device.h"

namespace wicket::gateway {
namespace {

// A look that takes longer waits for RTNL.
constexpr uint64_t kLookMax_ns = 2'000'000'000;
constexpr uint64_t kLookInterval_ns = 400'000'000;
constexpr absl::Duration kAbsentPause = absl::Milliseconds(250);
constexpr absl::Duration kPauseMin = absl::Milliseconds(500), kPauseMax = absl::Seconds(4);

}  // namespace

Nics::Nics(const std::vector<NicConfig>& configs, NicContext context)
    : trials_(configs.size()), watch_(context.steering, context.wake) {
  context.verdicts = &past_verdicts_;
  context.slots_used = &slots_used_;
  for (const NicConfig& config : configs) nics_.push_back(std::make_unique<Nic>(config, context));
}

absl::Status Nics::Tick(reinject::Mode reinject, bool* changed) {
  const bool first = !std::exchange(ticked_, true);
  auto look = watch_.Take();
  // RTNL may be held again by any later tick.
  bool may_take = first || look != nullptr;
  bool ask = false;
  if (look != nullptr) {
    look_ = std::move(look);
    waits_ = false;
  }
  const uint64_t asked_ns_ago = SteadyNanos() - asked_ns_;
  const bool answered = !waits_ || asked_ns_ago < kLookMax_ns;
  if (answered != std::exchange(answered_, answered)) {
    Log(LogLevel::kWarning, answered ? "the kernel answers questions about NICs again"
                                     : "the kernel does not answer questions about NICs: something "
                                       "holds RTNL; no NIC is attached until it does");
  }
  for (size_t i = 0; i < nics_.size(); ++i) {
    Nic& nic = *nics_[i];
    if (const absl::string_view why = nic.up() ? nic.Changed(look_.get()) : ""; !why.empty()) {
      Log(LogLevel::kWarning, nic.name(), ": ", why);
      nic.Down();
      *changed = true;
    }
    if (nic.up() || !may_take || SteadyNow() < trials_[i].next) continue;
    const bool there = wgdev::InterfaceIndex(nic.name()) != 0;
    const absl::Status taken = Take(i, there, reinject);
    may_take = first || !there;  // one that is not there costs no question
    ask = true;                  // for the next NIC
    if (first && absl::IsPermissionDenied(taken)) return taken;
    *changed |= taken.ok();
  }
  if (*changed) forgets_older_ = true;
  if (waits_ || (!ask && asked_ns_ago < kLookInterval_ns)) return absl::OkStatus();
  std::vector<int> ifindexes;  // also of those that are not up: that they are asked about is a test
  for (const auto& nic : nics_) {
    const int ifindex = nic->up() ? nic->route().ifindex : wgdev::InterfaceIndex(nic->name());
    if (ifindex != 0) ifindexes.push_back(ifindex);
  }
  asked_ns_ = SteadyNanos();
  waits_ = true;
  watch_.Ask(std::move(ifindexes), std::exchange(forgets_older_, false));
  return absl::OkStatus();
}

absl::Status Nics::Take(size_t index, bool there, reinject::Mode reinject) {
  Nic& nic = *nics_[index];
  Trial& trial = trials_[index];
  const absl::Status status = there ? nic.Up(reinject) : absl::NotFoundError("no such interface");
  if (status.ok()) {
    trial = {};
    Log(LogLevel::kInfo, nic.Describe());
    return status;
  }
  trial.pause = there ? std::clamp(2 * trial.pause, kPauseMin, kPauseMax) : absl::ZeroDuration();
  trial.next = SteadyNow() + std::max(trial.pause, kAbsentPause);
  if (status.message() != trial.problem) {
    trial.problem = std::string(status.message());
    Log(LogLevel::kWarning, nic.name(), ": waiting for the interface: ", status.message());
  }
  return status;
}

absl::Status Nics::SetReinject(reinject::Mode before, reinject::Mode wanted) {
  absl::Status status;
  for (auto& nic : nics_) {
    if (status.ok() && nic->up()) status = nic->SetReinject(wanted);
  }
  if (status.ok()) return status;
  for (auto& nic : nics_) {
    if (nic->up()) nic->SetReinject(before).IgnoreError();
  }
  return status;
}

void Nics::DrainSightings(const std::vector<DeviceConfig>& devices) {
  for (auto& nic : nics_) nic->DrainSightings(devices);
}

uint64_t Nics::shards() const {
  uint64_t shards = 0;
  for (const auto& nic : nics_) shards += nic->shards();
  return shards;
}

std::vector<installer::NicRoute> Nics::routes() const {
  std::vector<installer::NicRoute> routes;
  for (const auto& nic : nics_) {
    if (nic->up()) routes.push_back(nic->route());
  }
  return routes;
}

std::map<std::string, uint64_t> Nics::Verdicts() const {
  std::map<std::string, uint64_t> verdicts;
  for (size_t i = 0; i < intake::kVerdicts; ++i) {
    const auto verdict = static_cast<intake::Verdict>(i);
    verdicts[intake::ToString(verdict)] = past_verdicts_.Read(verdict);
  }
  for (const auto& nic : nics_) nic->AddVerdicts(&verdicts);
  return verdicts;
}

bool Nics::under_load() const {
  return std::any_of(nics_.begin(), nics_.end(),
                     [](const auto& nic) { return nic->Status().under_load; });
}

void Nics::AddThreads(std::vector<document::ThreadStatus>* threads) const {
  for (const auto& nic : nics_) nic->AddThreads(threads);
}

void Nics::FillStatus(document::Status* status) const {
  status->verdicts = Verdicts();
  for (size_t i = 0; i < nics_.size(); ++i) {
    status->nics.push_back(nics_[i]->Status());
    status->nics.back().away_reason = trials_[i].problem;
  }
}

}  // namespace wicket::gateway
