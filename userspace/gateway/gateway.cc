#include "gateway/gateway.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/log.h"
#include "gateway/reload.h"
#include "xsk/pins.h"

namespace wicket::gateway {
namespace {

constexpr absl::Duration kReaderCheckInterval = absl::Minutes(1);
constexpr absl::Duration kStatusInterval = absl::Seconds(1);

}  // namespace

absl::StatusOr<std::unique_ptr<Gateway>> Gateway::Start(Config config,
                                                        installer::Sessions* unsaved,
                                                        ReloadHandler reload, const Calls* wake) {
  std::unique_ptr<Gateway> gateway(new Gateway(std::move(config)));
  const absl::Status started = gateway->StartAll(unsaved, std::move(reload), wake);
  if (started.ok()) return gateway;
  if (gateway->storage_.saver) *unsaved = gateway->Close();
  return started;
}

absl::Status Gateway::StartAll(installer::Sessions* unsaved, ReloadHandler reload,
                               const Calls* wake) {
  WICKET_ASSIGN_OR_RETURN(reporter_, report::Reporter::Open(config_.status_file));
  WICKET_RETURN_IF_ERROR(http::CheckOptions(config_.control));  // before any NIC is touched
  WICKET_RETURN_IF_ERROR(crypto::Initialize());
  WICKET_ASSIGN_OR_RETURN(storage_.store, store::Store::Open(config_.store));
  WICKET_RETURN_IF_ERROR(storage_.store->LockForDaemon());
  storage_.committer = std::make_unique<store::Committer>(&*storage_.store);
  storage_.saver = std::make_unique<installer::SessionSaver>(storage_.committer.get());
  if (!unsaved->empty()) storage_.saver->Submit(std::exchange(*unsaved, {}));
  WICKET_ASSIGN_OR_RETURN(steering_, xsk::Steering::Open(config_.pin_dir));
  WICKET_ASSIGN_OR_RETURN(prober_, reinject::Injector::Open());
  services_ = std::make_unique<Services>(steering_.get());
  WICKET_RETURN_IF_ERROR(devices_.Start(
      config_.devices, {.store = &*storage_.store,
                        .committer = storage_.committer.get(),
                        .saver = storage_.saver.get(),
                        .flows =
                            [this](const installer::FlowChange& flow, uint16_t port) {
                              return flow.known ? steering_->flows().Note(flow.source, port)
                                                : steering_->flows().Forget(flow.source, port);
                            },
                        .events = &events_,
                        .turns = nullptr,
                        .gateway = wake}));
  nics_ = std::make_unique<Nics>(config_.nics, NicContext{.steering = steering_.get(),
                                                          .injector = prober_.get(),
                                                          .store = &*storage_.store,
                                                          .devices = services_->table(),
                                                          .installers = devices_.installers(),
                                                          .verdicts = nullptr,
                                                          .slots_used = nullptr,
                                                          .events = &events_,
                                                          .wake = wake,
                                                          .pin_threads = config_.pin_threads,
                                                          .x25519 = config_.x25519});
  front_ = std::make_unique<Front>(config_, devices_, &*storage_.store, storage_.committer.get(),
                                   &events_, reporter_.get(), std::move(reload));
  WatchClock();
  WICKET_RETURN_IF_ERROR(services_->RotateCookies().status());
  devices_.Tick();
  Publish();  // before anything is steered
  WICKET_RETURN_IF_ERROR(WatchNics());
  WICKET_RETURN_IF_ERROR(reporter_->Publish(ReadStatus()));
  return front_->Listen(config_.control);
}

void Gateway::StopServing() {
  front_.reset();
  nics_.reset();
  devices_.Stop();
}

installer::Sessions Gateway::Close() {
  StopServing();
  return storage_.saver ? storage_.saver->TakeUnsaved() : installer::Sessions{};
}

Gateway::~Gateway() {
  StopServing();
  if (steering_ == nullptr) return;
  // Another program may listen there after us.
  if (const absl::Status status = steering_->Serve({}); !status.ok()) {
    Log(LogLevel::kWarning, status.message());
  }
}

absl::Status Gateway::Tick() {
  // Another file lies in its place; or a failed write of its root leaves the open one unusable, and
  // the disk as it was before.
  for (const absl::Status& usable :
       {storage_.store->CheckFile(), storage_.store->NewSnapshot().status()}) {
    if (absl::IsAborted(usable)) return usable;
  }
  const absl::Duration steady = SteadyNow();
  WatchClock();
  WatchKeys();
  const absl::StatusOr<bool> rotated = services_->RotateCookies();
  if (!rotated.ok()) {
    Log(LogLevel::kError, "rotating the cookie secret: ", rotated.status().message());
  }
  const bool changed = devices_.Tick();
  WatchNics().IgnoreError();
  if (changed || rotated.value_or(false)) Publish();
  services_->Collect();
  front_->Tick(steady, WallNow());
  nics_->DrainSightings(devices_.configs());
  if (steady >= seen_.next_reader_check) {
    seen_.next_reader_check = steady + kReaderCheckInterval;
    storage_.store->CheckReaders();
  }
  if (steady >= seen_.next_status) {
    seen_.next_status = steady + kStatusInterval;
    document::Status status = ReadStatus();
    NoteDefence(&status);
    if (const absl::Status written = reporter_->Publish(std::move(status)); !written.ok()) {
      Log(LogLevel::kWarning, "status file: ", written.message());
    }
  }
  return absl::OkStatus();
}

void Gateway::WatchClock() {
  const absl::Time now = WallNow();
  const auto step = seen_.clock.Look(SteadyNow(), now);
  if (!step) return;
  ++seen_.clock_steps;
  Log(LogLevel::kWarning, "the wall clock stepped by ", absl::FormatDuration(*step),
      "; no expired peer is deleted for ", absl::FormatDuration(config_.store_keeps_expired));
  events_.Append({.kind = event::Kind::kClockStep,
                  .at = now,
                  .device = "",
                  .peer = {},
                  .source = {},
                  .reason = "",
                  .figures = {{"seconds", absl::ToDoubleSeconds(*step)}}});
  devices_.NoteClockStep();
  front_->NoteClockStep();
}

void Gateway::WatchKeys() {
  const uint64_t failed = steering_->ReadCounters()[STEER_COUNT_DROP_MAC1];
  if (std::exchange(seen_.macs_failed, failed) != failed) devices_.LookForNewKeys();
}

absl::Status Gateway::WatchNics() {
  bool changed = false;
  WICKET_RETURN_IF_ERROR(nics_->Tick(config_.reinject, &changed));
  if (!changed) return absl::OkStatus();
  devices_.SetRoutes(nics_->routes());
  Publish();  // the shards share the budgets
  return absl::OkStatus();
}

void Gateway::Publish() {
  const absl::Status published =
      services_->Publish(devices_, nics_->shards(), config_.cookies_per_second);
  if (!published.ok()) Log(LogLevel::kError, "serving ports: ", published.message());
  front_->SetOwnKeys(devices_);
}

// --- reload -----------------------------------------------------------------

absl::StatusOr<std::vector<std::string>> Gateway::Reload(const Config& config) {
  std::vector<std::string> restart = TakeReloadable(config, &config_);
  devices_.SetConfigs(config_.devices);
  Publish();
  if (config.reinject == config_.reinject) return restart;
  const absl::Status set = nics_->SetReinject(config_.reinject, config.reinject);
  if (set.ok()) config_.reinject = config.reinject;
  devices_.SetRoutes(nics_->routes());
  if (set.ok()) return restart;
  return absl::AbortedError(absl::StrCat(
      "reinject: ", set.message(), "; the mode stays ", reinject::ToString(config_.reinject),
      "; the rest of the file was taken",
      restart.empty()
          ? ""
          : absl::StrCat(", but for ", absl::StrJoin(restart, ", "), ", which need a restart")));
}

// --- status -----------------------------------------------------------------

document::Status Gateway::ReadStatus() const {
  document::Status status;
  status.version = WICKET_VERSION;
  status.pid = getpid();
  status.started = started_;
  status.written = WallNow();
  status.store_path = storage_.store->path();
  status.pin_dir = config_.pin_dir;
  status.x25519 = crypto::ToString(config_.x25519);
  if (const auto stats = storage_.store->ReadStats(); stats.ok()) {
    status.stored_peers = stats->peers;
    status.store_bytes = stats->file_bytes;
    status.store_bytes_max = stats->bytes_max;
    status.released_prefixes = stats->released;
  }
  FillPools(&status);
  status.unsaved_sessions = storage_.saver->unsaved();
  status.store_refuses_writes = storage_.saver->refused();
  status.clock_steps = seen_.clock_steps;
  status.commit = document::SecondsOf(storage_.committer->times());
  nics_->FillStatus(&status);
  devices_.FillStatus(&status);
  status.peer_names = config_.metrics.peer_names;
  nics_->AddThreads(&status.threads);
  devices_.AddThreads(&status.threads);
  status.threads.push_back({.name = "committer", .silent_s = storage_.committer->task().Seconds()});
  status.threads.push_back({.name = "nic watch", .silent_s = nics_->look_task().Seconds()});
  status.threads.push_back({.name = "control", .silent_s = front_ ? front_->BusySeconds() : 0});
  status.threads.push_back({.name = "log", .silent_s = LogThread::BusySeconds()});
  status.steering = xsk::NamedCounters(steering_->ReadCounters());
  status.defence = defence_.status();
  return status;
}

void Gateway::FillPools(document::Status* status) const {
  if (config_.pools.empty()) return;
  const auto snapshot = storage_.store->NewSnapshot();
  if (!snapshot.ok()) return;
  for (const PoolConfig& pool : config_.pools) {
    for (const Prefix& cidr : pool.cidrs) {
      const store::CidrUse use = snapshot->UseOfCidr(pool.device, cidr);
      status->pools.push_back({.name = pool.name,
                               .device = pool.device,
                               .cidr = ToString(cidr),
                               .size = use.size,
                               .used = use.used});
    }
  }
}

void Gateway::NoteDefence(document::Status* status) {
  defence_.Note(SteadyNow(), *status, nics_->under_load(), steering_->TakeSources());
  status->defence = defence_.status();
}

std::string Gateway::HangingThread() const {
  std::vector<document::ThreadStatus> threads;
  nics_->AddThreads(&threads);
  devices_.AddThreads(&threads);
  for (const document::ThreadStatus& thread : threads) {
    if (thread.silent_s > absl::ToDoubleSeconds(kHang)) return thread.name;
  }
  return {};
}

std::string Gateway::Summary() const {
  const std::shared_ptr<const document::Status> status = reporter_->latest();
  std::vector<std::string> devices, nics;
  for (const document::DeviceStatus& device : status->devices) {
    devices.push_back(device.backend == "away"
                          ? absl::StrCat(device.name, " (away)")
                          : absl::StrCat(device.name, " (", device.installed, " installed)"));
  }
  for (const document::NicStatus& nic : status->nics) {
    nics.push_back(nic.xdp_mode == "away" ? absl::StrCat(nic.name, " (away)")
                                          : absl::StrCat(nic.name, " (", nic.queues, " queues)"));
  }
  return absl::StrCat("serves ", absl::StrJoin(devices, ", "), " on ", absl::StrJoin(nics, ", "),
                      "; ", status->stored_peers, " peers stored");
}

}  // namespace wicket::gateway
