#include "gateway/installer.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "guard/replay.h"

namespace wicket::gateway {
namespace {

constexpr size_t kBatchMax = 64;
constexpr size_t kEvictSlice = 16;
constexpr int kIdleWait_ms = 250;
constexpr absl::Duration kDumpInterval = absl::Seconds(1);
constexpr int kDumpDutyCycle = 20;  // at most a twentieth of the time is spent dumping
constexpr absl::Duration kSaveInterval = absl::Seconds(1);
// An installed peer that initiates through us twice within this time and from
// one place was not answered: XDP lets the first try of a known flow pass.
constexpr absl::Duration kUnanswered = absl::Seconds(15);

absl::Duration Steady() { return absl::Nanoseconds(xsk::KtimeNanos()); }

// See pacer.h. Rates are per core of what answers them: the kernel needs about
// 140 us for a handshake, wireguard-go 345-505 us.
reinject::Pacer PacerFor(const wgdev::Device& device) {
  const auto cores = static_cast<uint32_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  if (device.backend() == "uapi") return reinject::Pacer(64, 1500 * cores);
  return reinject::Pacer(256, 6000 * cores);
}

}  // namespace

Installer::Installer(DeviceConfig config, const store::Store* store, xsk::Steering* steering)
    : config_(std::move(config)),
      store_(store),
      steering_(steering),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      installed_(config_.evict_after) {
  batch_.reserve(kBatchMax);
}

absl::Status Installer::Start() {
  WICKET_ASSIGN_OR_RETURN(injector_, reinject::Injector::Open());
  WICKET_ASSIGN_OR_RETURN(snapshot_, store_->NewSnapshot());
  snapshot_->Release();
  thread_ = std::thread([this] { Loop(); });
  return absl::OkStatus();
}

Installer::~Installer() {
  stop_ = true;
  eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
}

void Installer::AddQueue(shard::RequestQueue* queue) {
  const std::lock_guard lock(mutex_);
  queues_.push_back(queue);
}

void Installer::RemoveQueue(shard::RequestQueue* queue) {
  const std::lock_guard lock(mutex_);
  std::erase(queues_, queue);
}

void Installer::SetRoutes(std::vector<NicRoute> routes) {
  const std::lock_guard lock(mutex_);
  routes_ = std::move(routes);
}

void Installer::SetConfig(const DeviceConfig& config) {
  const std::lock_guard lock(mutex_);
  config_ = config;
  installed_.set_evict_after(config.evict_after);
}

void Installer::SetDevice(std::unique_ptr<wgdev::Device> device, const PublicKey& own_key,
                          uint16_t port) {
  const std::lock_guard lock(mutex_);
  if (device != nullptr || device_lost_) {
    // Another device, even of the same name, has none of our peers. Their
    // sessions are saved, and what is left of them is found by the first dump.
    SaveSessions();
    installed_.Clear();
    evictions_.clear();
    dump_.reset();
    next_dump_ = absl::ZeroDuration();
    device_ = std::move(device);
    if (device_ != nullptr) pacer_ = PacerFor(*device_);
  }
  own_key_ = own_key;
  port_ = port;
  device_lost_ = false;
  device_changed_ = false;
  eventfd_write(wake_.get(), 1);
}

void Installer::Loop() {
  pthread_setname_np(pthread_self(), absl::StrCat("install/", config_.name).substr(0, 15).c_str());
  while (!stop_) {
    size_t gathered = 0;
    bool busy = false;
    {
      const std::lock_guard lock(mutex_);
      gathered = Gather();
      if (gathered > 0) InstallBatch(Steady());
      if (gathered == 0) Housekeep();
      installed_count_ = installed_.size();
      busy = gathered > 0 || dump_ != nullptr || !evictions_.empty();
    }
    if (busy) continue;
    pollfd fd{wake_.get(), POLLIN, 0};
    poll(&fd, 1, kIdleWait_ms);
    eventfd_t ignored;
    eventfd_read(wake_.get(), &ignored);
  }
  const std::lock_guard lock(mutex_);
  SaveSessions();
}

// Takes what the shards have left, at most a batch. Of several initiations of
// one peer the newest counts: the client has forgotten the others.
size_t Installer::Gather() {
  batch_.clear();
  if (device_ == nullptr) {
    for (shard::RequestQueue* queue : queues_) {
      while (queue->Peek() != nullptr) queue->Release();
    }
    return 0;
  }
  const absl::Time now = absl::Now();
  const absl::Duration steady = Steady();
  bool renewed = false;
  for (bool more = true; more && batch_.size() < kBatchMax;) {
    more = false;
    for (shard::RequestQueue* queue : queues_) {
      const shard::InstallRequest* request = queue->Peek();
      if (request == nullptr || batch_.size() == kBatchMax) continue;
      more = true;
      Count(InstallerCount::kRequests);
      if (!renewed) renewed = snapshot_->Renew().ok();
      const auto same =
          std::find_if(batch_.begin(), batch_.end(), [&](const Pending& pending) {
            return pending.request.public_key == request->public_key;
          });
      if (same == batch_.end()) {
        batch_.emplace_back().request = *request;
        Admit(&batch_.back(), now, steady);
      } else if (guard::IsFresh(same->session.mark, request->stamp, now)) {
        same->request = *request;
        same->session.mark = guard::Accept(same->session.mark, request->stamp, now);
      } else {
        Count(InstallerCount::kReplays);
      }
      queue->Release();
    }
  }
  snapshot_->Release();
  return batch_.size();
}

// Decides what becomes of a proven initiation. The record is read here, after
// the proof and from the latest commit, so a peer deleted meanwhile stays out.
void Installer::Admit(Pending* pending, absl::Time now, absl::Duration steady) {
  const shard::InstallRequest& request = pending->request;
  InstalledPeer* peer = installed_.Find(request.public_key);
  pending->session = peer != nullptr
                         ? peer->session
                         : snapshot_->FindSession(request.public_key).value_or(store::Session{});
  if (!guard::IsFresh(pending->session.mark, request.stamp, now)) {
    return Count(InstallerCount::kReplays);
  }
  absl::StatusOr<store::Peer> stored = snapshot_->FindPeer(request.public_key);
  if (!stored.ok() || stored->device != config_.name || stored->expires <= now ||
      request.public_key == own_key_) {
    return Count(InstallerCount::kGone);
  }
  const bool unanswered = peer != nullptr && steady - peer->last_request < kUnanswered &&
                          peer->session.endpoint == request.source;
  if (peer == nullptr && installed_.size() + batch_.size() > config_.installed_max) {
    return Count(InstallerCount::kFull);
  }
  if (guard::IsFromTheFuture(request.stamp, now)) Count(InstallerCount::kFutureStamps);
  pending->session.mark = guard::Accept(pending->session.mark, request.stamp, now);
  pending->peer = peer;
  pending->stored = std::move(*stored);
  pending->install = peer == nullptr || unanswered;
  pending->ready = !pending->install;
  if (peer != nullptr) Count(unanswered ? InstallerCount::kHealed : InstallerCount::kRoamed);
}

void Installer::InstallBatch(absl::Duration steady) {
  std::vector<wgdev::PeerInstall> installs;
  std::vector<Pending*> owners;
  for (Pending& pending : batch_) {
    if (!pending.install) continue;
    const bool initiate = RouteMode(pending.request.ifindex) == ReinjectMode::kInvert;
    installs.push_back({.config = &pending.stored->config,
                        .endpoint = initiate ? pending.request.source : Endpoint{},
                        .initiate = initiate});
    owners.push_back(&pending);
  }
  const std::vector<absl::Status> results = device_->Install(installs);
  for (size_t i = 0; i < results.size(); ++i) {
    Pending* pending = owners[i];
    if (results[i].ok()) {
      pending->ready = true;
      Count(InstallerCount::kInstalls);
      ++pending->session.installs;
      continue;
    }
    Count(InstallerCount::kInstallErrors);
    if (absl::IsNotFound(results[i])) {
      device_lost_ = true;
    } else {
      Log(LogLevel::kWarning, config_.name, ": peer ", Abbreviate(pending->request.public_key),
          " was not installed: ", results[i].message());
    }
  }
  if (device_lost_) {
    Log(LogLevel::kWarning, config_.name, ": the device is gone; waiting for it to come back");
    device_.reset();
    return;
  }
  for (Pending& pending : batch_) {
    if (!pending.ready) continue;
    const PublicKey& key = pending.request.public_key;
    if (pending.peer == nullptr) {
      pending.peer = installed_.Add(key, pending.session, pending.stored->pinned, steady);
    }
  }
  // Adding may move what was found before; look each up again by its key.
  for (Pending& pending : batch_) {
    if (!pending.ready) continue;
    InstalledPeer* peer = installed_.Find(pending.request.public_key);
    peer->session.mark = pending.session.mark;
    peer->session.installs = pending.session.installs;
    peer->session.endpoint = pending.request.source;
    peer->last_request = steady;
    peer->leaving = false;
    peer->dirty = true;
    GiveBack(&pending);
  }
}

void Installer::GiveBack(Pending* pending) {
  shard::InstallRequest& request = pending->request;
  if (const absl::Status noted = steering_->NoteFlow(request.source, request.port); !noted.ok()) {
    Log(LogLevel::kWarning, config_.name, ": ", noted.message());
  }
  const reinject::Packet packet{{request.frame.data(), request.frame_bytes},
                                request.ip_offset, request.udp_offset};
  const ReinjectMode mode = RouteMode(request.ifindex);
  absl::Status status;
  if (mode == ReinjectMode::kLive || mode == ReinjectMode::kRaw) {
    if (const uint64_t wait_ns = pacer_.TakeTurn(xsk::KtimeNanos()); wait_ns > 0) {
      const timespec pause{static_cast<time_t>(wait_ns / 1'000'000'000),
                           static_cast<long>(wait_ns % 1'000'000'000)};
      nanosleep(&pause, nullptr);
    }
    status = mode == ReinjectMode::kLive ? injector_->InjectLive(packet, request.ifindex)
                                         : injector_->InjectRaw(packet);
    Count(status.ok() ? InstallerCount::kReinjected : InstallerCount::kReinjectErrors);
  }
  const uint64_t took_ns = xsk::KtimeNanos() - request.seen_ns;
  seen_to_given_back_.Record(took_ns);
  if (!status.ok()) {
    Log(LogLevel::kWarning, config_.name, ": giving back: ", status.message());
  } else if (LogEnabled(LogLevel::kDebug)) {
    Log(LogLevel::kDebug, config_.name, ": peer ", Abbreviate(request.public_key),
        " proven from ", ToString(request.source), pending->install ? ", installed" : ", known here",
        mode == ReinjectMode::kLive || mode == ReinjectMode::kRaw ? ", given back (" : " (",
        ToString(mode), ") after ", absl::StrFormat("%.2f ms", static_cast<double>(took_ns) / 1e6));
  }
}

ReinjectMode Installer::RouteMode(int ifindex) const {
  for (const NicRoute& route : routes_) {
    if (route.ifindex == ifindex) return route.mode;
  }
  return ReinjectMode::kWait;  // the NIC went away with the packet
}

void Installer::Housekeep() {
  if (device_ == nullptr) return;
  if (!evictions_.empty()) return EvictSlice();
  const absl::Duration steady = Steady();
  if (dump_ != nullptr) return StepDump();
  if (steady >= next_save_) {
    next_save_ = steady + kSaveInterval;
    SaveSessions();
  }
  if (steady < next_dump_) return;
  dump_started_ = steady;
  next_dump_ = steady + kDumpInterval;
  auto dump = device_->StartDump();
  if (!dump.ok()) {
    device_lost_ = absl::IsNotFound(dump.status());
    if (device_lost_) device_.reset();
    return;
  }
  dump_ = std::move(*dump);
  foreign_in_dump_ = 0;
  installed_.BeginDump();
}

void Installer::StepDump() {
  std::vector<wgdev::PeerStats> peers;
  const absl::StatusOr<bool> more = dump_->Next(&peers);
  const absl::Duration steady = Steady();
  for (const wgdev::PeerStats& stats : peers) {
    InstalledPeer* peer = installed_.Find(stats.public_key);
    if (peer == nullptr) {
      AdoptUnknown(stats);
      continue;
    }
    if (installed_.Observe(peer, stats, steady)) {
      Count(InstallerCount::kConfirmed);
      if (LogEnabled(LogLevel::kDebug)) {
        Log(LogLevel::kDebug, config_.name, ": peer ", Abbreviate(stats.public_key),
            " session confirmed");
      }
    }
  }
  if (more.ok() && *more) return;
  if (!more.ok()) {
    Log(LogLevel::kDebug, config_.name, ": dump: ", more.status().message());
    device_lost_ = absl::IsNotFound(more.status());
  }
  const bool complete = more.ok() && !dump_->interrupted();
  if (more.ok()) {
    device_changed_ = dump_->public_key() != own_key_ || dump_->listen_port() != port_;
  }
  dump_.reset();
  if (device_lost_) return device_.reset();
  FinishDump(complete);
}

// A peer in the device that we did not put there: ours when it is stored.
void Installer::AdoptUnknown(const wgdev::PeerStats& stats) {
  if (!snapshot_->Renew().ok()) return;
  const auto stored = snapshot_->FindPeer(stats.public_key);
  if (!stored.ok() || stored->device != config_.name) {
    ++foreign_in_dump_;
  } else {
    const store::Session session =
        snapshot_->FindSession(stats.public_key).value_or(store::Session{});
    InstalledPeer* peer =
        installed_.Add(stats.public_key, session, stored->pinned, Steady());
    // Its counters in the device go on from what was saved of them.
    peer->received_base -= std::min(peer->received_base, stats.received_bytes);
    peer->sent_base -= std::min(peer->sent_base, stats.sent_bytes);
    installed_.Observe(peer, stats, Steady());
    Count(InstallerCount::kAdopted);
    if (stats.endpoint.address.family != Family::kNone) {
      steering_->NoteFlow(stats.endpoint, port_).IgnoreError();
    }
  }
  snapshot_->Release();
}

void Installer::FinishDump(bool complete) {
  foreign_count_ = foreign_in_dump_;
  unconfirmed_count_ = installed_.unconfirmed();
  const absl::Duration steady = Steady();
  next_dump_ = std::max(next_dump_, steady + kDumpDutyCycle * (steady - dump_started_));
  const InstalledPeers::Changes changes = installed_.EndDump(steady, complete);
  for (const PublicKey& key : changes.leaving) {
    steering_->ForgetFlow(installed_.Find(key)->session.endpoint, port_).IgnoreError();
  }
  for (const PublicKey& key : changes.staying) {
    steering_->NoteFlow(installed_.Find(key)->session.endpoint, port_).IgnoreError();
  }
  for (const PublicKey& key : changes.missing) {
    Count(InstallerCount::kMissing);
    steering_->ForgetFlow(installed_.Find(key)->session.endpoint, port_).IgnoreError();
    installed_.Erase(key);
  }
  if (changes.remove.empty()) return;
  SaveSessions();  // before the device forgets endpoint and counters
  evictions_.assign(changes.remove.begin(), changes.remove.end());
}

void Installer::EvictSlice() {
  std::vector<PublicKey> slice;
  while (!evictions_.empty() && slice.size() < kEvictSlice) {
    const PublicKey key = evictions_.front();
    evictions_.pop_front();
    // It may have come back through us since the dump.
    if (const InstalledPeer* peer = installed_.Find(key); peer != nullptr && peer->leaving) {
      slice.push_back(key);
    }
  }
  if (slice.empty()) return;
  const std::vector<absl::Status> results = device_->Remove(slice);
  for (size_t i = 0; i < slice.size(); ++i) {
    if (!results[i].ok()) {
      Log(LogLevel::kWarning, config_.name, ": peer ", Abbreviate(slice[i]),
          " was not removed: ", results[i].message());
      continue;
    }
    const bool confirmed = installed_.Find(slice[i])->confirmed;
    Count(confirmed ? InstallerCount::kEvictedIdle : InstallerCount::kEvictedUnconfirmed);
    if (LogEnabled(LogLevel::kDebug)) {
      Log(LogLevel::kDebug, config_.name, ": peer ", Abbreviate(slice[i]), " evicted (",
          confirmed ? "its session is dead" : "no session came about", ")");
    }
    installed_.Erase(slice[i]);
  }
}

// One transaction for all that has changed.
void Installer::SaveSessions() {
  const auto dirty = installed_.TakeDirty();
  if (dirty.empty()) return;
  const auto save = [&]() -> absl::Status {
    WICKET_ASSIGN_OR_RETURN(store::Writer writer, store_->Write());
    for (const auto& [key, session] : dirty) {
      WICKET_ASSIGN_OR_RETURN(const bool stored, writer.HasPeer(key));
      if (stored) WICKET_RETURN_IF_ERROR(writer.PutSession(key, session));
    }
    return writer.Commit();
  };
  const absl::Status status = save();
  if (status.ok()) return;
  Log(LogLevel::kError, config_.name, ": saving ", dirty.size(), " sessions: ", status.message());
  for (const auto& [key, session] : dirty) {  // tried again with the next save
    if (InstalledPeer* peer = installed_.Find(key)) peer->dirty = true;
  }
}

void Installer::FillStatus(document::DeviceStatus* status) const {
#define WICKET_INSTALLER_FILL(name, text, help)                                        \
  status->counts[text] = counts_[static_cast<size_t>(InstallerCount::k##name)].load( \
      std::memory_order_relaxed);
  WICKET_INSTALLER_COUNTS(WICKET_INSTALLER_FILL)
#undef WICKET_INSTALLER_FILL
  status->installed = installed_count_;
  status->installed_unconfirmed = unconfirmed_count_;
  status->foreign = foreign_count_;
  status->install_count = seen_to_given_back_.Count();
  status->install_p50_ms = static_cast<double>(seen_to_given_back_.Quantile(0.5)) / 1e6;
  status->install_p99_ms = static_cast<double>(seen_to_given_back_.Quantile(0.99)) / 1e6;
}

}  // namespace wicket::gateway
