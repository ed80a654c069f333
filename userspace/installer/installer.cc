#include "installer/installer.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "guard/replay.h"
#include "reinject/backlog.h"

namespace wicket::installer {
namespace {

constexpr size_t kBatchMax = 64;
constexpr size_t kSlice = 16;        // peers changed in the device between two looks at the queues
constexpr size_t kLeaveSlice = 256;  // begin to leave, or wait for their sessions to be saved
constexpr uint32_t kBatchesPerHousekeeping = 16;
constexpr int kIdleWait_ms = 250;
constexpr int kSliceWait_ms = 10;
// A batch that has to wait for room waits for so much, and looks again so often.
constexpr uint64_t kRoomMin = 16;
constexpr absl::Duration kRoomWait = absl::Milliseconds(1);
constexpr absl::Duration kDumpInterval = absl::Seconds(1);
// A dump of a small device takes at most a hundredth of the time; that of a large one, which
// nobody may have to wait longer for, what it takes.
constexpr int kDumpDutyCycle = 100;
constexpr absl::Duration kDumpPauseMax = absl::Seconds(5);
constexpr absl::Duration kVerdictLifetime = absl::Seconds(10);
constexpr absl::Duration kSaveInterval = absl::Seconds(1);
// An installed peer that initiates through us twice within this time and from
// one place was not answered: XDP lets the first try of a known flow pass.
constexpr absl::Duration kUnanswered = absl::Seconds(15);
// A client that has no answer makes another handshake after 5 s, and forgets the last one. Of those
// who wait too long for all to be served, none would be served in time if the oldest were.
constexpr uint64_t kPatience_ns = 2'500'000'000;
// Looking for a new key takes at most a tenth of the time, whatever flood there is.
constexpr int kLookDutyCycle = 10;
// The device itself takes no more than this of one peer: [WG 5.1], 50 a second.
constexpr absl::Duration kInitiationInterval = absl::Milliseconds(20);

using reinject::GivesBack;

absl::Duration Steady() { return SteadyNow(); }

// Tells what waits in the device, if that can be known; the log says which.
reinject::Pacer::Waiting WaitingIn(const wgdev::Device& device, const std::string& name) {
  absl::StatusOr<std::unique_ptr<reinject::Backlog>> backlog =
      device.backend() == "netlink"
          ? reinject::Backlog::Open(wgdev::InterfaceIndex(name))
          : absl::UnimplementedError("a user-space WireGuard does not tell");
  if (backlog.ok()) {
    Log(LogLevel::kInfo, name, ": served as fast as it answers");
    return [backlog = std::move(*backlog)](uint64_t now_ns) { return backlog->Waiting(now_ns); };
  }
  Log(LogLevel::kInfo, name, ": served as fast as this machine should answer; what waits in it is ",
      "not known: ", backlog.status().message());
  return [](uint64_t) { return std::nullopt; };
}

}  // namespace

Installer::Installer(Options config, const store::Store* store, store::Committer* committer,
                     SessionSaver* saver, xsk::Steering* steering, reinject::TurnClock* turns,
                     event::EventLog* events)
    : config_(std::move(config)),
      store_(store),
      committer_(committer),
      saver_(saver),
      steering_(steering),
      events_(events),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      turns_(turns),
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

std::unique_lock<std::mutex> Installer::Lock() const {
  lock_waiters_.fetch_add(1);
  std::unique_lock lock(mutex_);
  lock_waiters_.fetch_sub(1);
  return lock;
}

void Installer::AddQueue(intake::DemandQueue* queue) {
  const auto lock = Lock();
  queues_.Add(queue);
}

void Installer::RemoveQueue(intake::DemandQueue* queue) {
  const auto lock = Lock();
  queues_.Remove(queue);
}

void Installer::SetRoutes(std::vector<NicRoute> routes) {
  const auto lock = Lock();
  routes_ = std::move(routes);
}

void Installer::SetConfig(const Options& config) {
  const auto lock = Lock();
  config_ = config;
  installed_.set_evict_after(config.evict_after);
}

std::shared_ptr<const intake::ForeignPeers> Installer::foreign() const {
  const auto lock = Lock();
  return foreign_;
}

void Installer::SetDevice(std::unique_ptr<wgdev::Device> device, const PublicKey& own_key,
                          uint16_t port) {
  auto pacer = std::make_unique<reinject::Pacer>(reinject::PaceFor(device->backend()),
                                                 WaitingIn(*device, config_.name), turns_);
  const auto lock = Lock();
  LoseDevice();
  device_ = std::move(device);
  pacer_ = std::move(pacer);
  next_dump_ = absl::ZeroDuration();
  own_key_ = own_key;
  port_ = port;
  device_lost_ = device_changed_ = false;
  eventfd_write(wake_.get(), 1);
}

void Installer::SetKeys(const PublicKey& own_key, uint16_t port) {
  const auto lock = Lock();
  own_key_ = own_key;
  port_ = port;
  device_changed_ = false;
}

// Forgets the device and what was in it. What is still there when it comes back,
// the first dump shows.
void Installer::LoseDevice() {
  saver_->Submit(installed_.TakeDirty());
  installed_.Clear();
  evictions_.clear();
  revoked_in_dump_.clear();
  outdated_.clear();
  swept_ = false;
  dump_.reset();
  device_.reset();
}

void Installer::Loop() {
  NameThread(absl::StrCat("install/", config_.name));
  ServePackets();
  while (!stop_) {
    bool busy = false, held_back = false;
    int wait_ms = kIdleWait_ms;
    {
      const std::lock_guard lock(mutex_);
      DropLate();
      const size_t gathered = Gather(Room());
      if (gathered > 0) InstallBatch(Steady());
      held_back = held_back_;
      if ((gathered == 0 && !held_back) ||
          ++batches_since_housekeeping_ >= kBatchesPerHousekeeping) {
        batches_since_housekeeping_ = 0;
        Housekeep();
      }
      installed_count_ = installed_.size();
      unconfirmed_count_ = installed_.on_probation();
      crowded_ = Crowded();
      const bool may_evict = !evictions_.empty() && saver_->SavedUpTo() >= evictions_ticket_;
      if (!evictions_.empty() || !outdated_.empty()) wait_ms = kSliceWait_ms;
      busy = device_ != nullptr && (gathered > 0 || dump_ != nullptr || may_evict);
    }
    // Asleep: who waits may be of lower priority than this thread.
    while (lock_waiters_ > 0 && !stop_) absl::SleepFor(absl::Microseconds(50));
    if (held_back) absl::SleepFor(kRoomWait);
    if (busy || held_back) continue;
    pollfd fd{wake_.get(), POLLIN, 0};
    poll(&fd, 1, wait_ms);
    eventfd_t ignored;
    eventfd_read(wake_.get(), &ignored);
  }
  const std::lock_guard lock(mutex_);
  saver_->Submit(installed_.TakeDirty());
}

// Also while there is no room: the queues are for who still waits.
void Installer::DropLate() {
  const uint64_t now_ns = SteadyNanos();
  queues_.DropLate([&](const intake::Demand& request) {
    const bool late = request.seen_ns + kPatience_ns < now_ns;
    if (late) Count(InstallerCount::kRequests);
    if (late) Count(InstallerCount::kTooLate);
    return late;
  });
}

// Returns: how many requests may be served now, at most a batch.
size_t Installer::Room() {
  held_back_ = false;
  if (device_ == nullptr) return 0;
  const size_t wanted = std::min(queues_.Waiting(), kBatchMax);
  const bool gives_back = std::any_of(routes_.begin(), routes_.end(),
                                      [](const NicRoute& route) { return GivesBack(route.mode); });
  if (wanted == 0 || !gives_back) return wanted;
  const uint64_t room = pacer_->Room(SteadyNanos());
  if (room >= std::min<uint64_t>(wanted, kRoomMin)) return std::min<uint64_t>(wanted, room);
  held_back_ = true;
  Count(InstallerCount::kHeldBack);
  return 0;
}

// Takes what the shards have left, at most so many. Of several initiations of
// one peer the newest counts: the client has forgotten the others.
size_t Installer::Gather(size_t most) {
  batch_.clear();
  if (device_ == nullptr) {
    while (intake::DemandQueue* queue = queues_.Next()) queue->Release();
    return 0;
  }
  const absl::Time now = absl::Now();
  const absl::Duration steady = Steady();
  bool renewed = false;
  while (batch_.size() < most) {
    intake::DemandQueue* queue = queues_.Next();
    if (queue == nullptr) break;
    const intake::Demand* request = queue->Peek();
    Count(InstallerCount::kRequests);
    if (!renewed) renewed = snapshot_->Renew().ok();
    const auto same = std::find_if(batch_.begin(), batch_.end(), [&](const Pending& pending) {
      return pending.request.public_key == request->public_key;
    });
    const bool admitted = same != batch_.end() && (same->install || same->ready);
    if (!admitted) {
      Pending& pending = same == batch_.end() ? batch_.emplace_back() : *same;
      pending.request = *request;
      Admit(&pending, now, steady);
    } else if (guard::IsFresh(same->session.mark, request->stamp, now)) {
      same->request = *request;
      same->session.mark = guard::Accept(same->session.mark, request->stamp, now);
    } else {
      Count(InstallerCount::kReplays);
    }
    queue->Release();
  }
  snapshot_->Release();
  return batch_.size();
}

// Decides what becomes of a proven initiation. The record is read here, after
// the proof and from the latest commit, so a peer deleted meanwhile stays out.
void Installer::Admit(Pending* pending, absl::Time now, absl::Duration steady) {
  const intake::Demand& request = pending->request;
  if ((request.reason == intake::Reason::kForeign)) return AdmitForeign(pending);
  Resident* peer = installed_.Find(request.public_key);
  pending->session = peer != nullptr
                         ? peer->session
                         : snapshot_->FindSession(request.public_key).value_or(store::Session{});
  StampMark& mark = pending->session.mark;
  // What the kernel accepted past us, it forgot with the peer; we must not.
  if (peer == nullptr) mark = guard::AdvanceTo(mark, pending->session.last_handshake);
  if (!guard::IsFresh(mark, request.stamp, now)) return Count(InstallerCount::kReplays);
  if (peer != nullptr && steady - peer->last_request < kInitiationInterval) {
    return Count(InstallerCount::kTooOften);
  }
  absl::StatusOr<store::Peer> stored = snapshot_->FindPeer(request.public_key);
  if (!stored.ok() || stored->device != config_.name || stored->expires <= now ||
      request.public_key == own_key_) {
    return Count(InstallerCount::kGone);
  }
  const auto newcomers =
      static_cast<uint64_t>(std::count_if(batch_.begin(), batch_.end(), [](const Pending& other) {
        return other.install && other.peer == nullptr;
      }));
  // Nobody in the device is displaced: a newcomer is let in or is not.
  if (peer == nullptr && installed_.size() + newcomers >= config_.installed_max) {
    pressed_ = true;
    return Count(InstallerCount::kFull);
  }
  if (peer == nullptr && installed_.on_probation() + newcomers >= config_.probation_max) {
    next_dump_ = absl::ZeroDuration();  // perhaps some have confirmed since the last one
    return Count(InstallerCount::kProbationFull);
  }
  if (peer == nullptr && installed_.on_probation() + newcomers >= OpenPlaces()) {
    if (!request.source_proven) return Count(InstallerCount::kProbationCookie);
    if (CrowdsProbation(request.source.address, newcomers)) {
      return Count(InstallerCount::kProbationSource);
    }
  }
  const bool unanswered = peer != nullptr && steady - peer->last_request < kUnanswered &&
                          peer->session.endpoint == request.source;
  const bool invert = RouteMode(request.ifindex) == reinject::Mode::kInvert;
  pending->peer = peer;
  // The device would refuse the stamp of a clock that was set back. A live session
  // is not risked for that; it is over in 180 s.
  pending->reset = peer != nullptr &&
                   (peer->forget_stamp ||
                    (request.stamp <= mark.exact && steady - peer->active > kSessionLifetime));
  pending->install = peer == nullptr || unanswered || invert || pending->reset;
  pending->ready = !pending->install;
  pending->stored = std::move(*stored);
  if (guard::IsFromTheFuture(request.stamp, now)) Count(InstallerCount::kFutureStamps);
  mark = guard::Accept(mark, request.stamp, now);
  if (peer != nullptr) Count(unanswered ? InstallerCount::kHealed : InstallerCount::kRoamed);
}

// Anybody may fill half of the probation. Of the other half, which is for those who have proven
// their address by a cookie, a source may have a quarter of what is free: so what is left shrinks
// by a quarter with each source that somebody owns, and it takes some 36 of them, and as many keys
// as there are places, to fill the default.
bool Installer::CrowdsProbation(const Address& source, uint64_t newcomers) const {
  const auto same = std::count_if(batch_.begin(), batch_.end(), [&](const Pending& other) {
    return other.install && other.peer == nullptr && other.request.source_proven &&
           SourceOf(other.request.source.address) == SourceOf(source);
  });
  const uint64_t free = config_.probation_max - installed_.on_probation() - newcomers;
  return 4 * (installed_.on_probation_from(source) + static_cast<uint64_t>(same)) >= free;
}

// Somebody else's peer: the device knows it, and its own replay protection is
// whole, since we never remove it.
void Installer::AdmitForeign(Pending* pending) {
  pending->ready = foreign_->contains(pending->request.public_key);
  Count(pending->ready ? InstallerCount::kForeign : InstallerCount::kGone);
}

void Installer::InstallBatch(absl::Duration steady) {
  std::vector<wgdev::PeerInstall> installs;
  std::vector<Pending*> owners;
  std::vector<PublicKey> resets, failed;
  for (Pending& pending : batch_) {
    if (!pending.install) continue;
    const bool initiate = RouteMode(pending.request.ifindex) == reinject::Mode::kInvert;
    installs.push_back({.config = &pending.stored->config,
                        .endpoint = initiate ? pending.request.source : Endpoint{},
                        .initiate = initiate});
    owners.push_back(&pending);
    if (pending.reset) resets.push_back(pending.request.public_key);
  }
  if (!resets.empty()) Remove(resets);
  const std::vector<absl::Status> results = device_->Install(installs);
  for (size_t i = 0; i < results.size(); ++i) {
    Pending* pending = owners[i];
    if (results[i].ok()) {
      pending->ready = true;
      ++pending->session.installs;
      Count(InstallerCount::kInstalls);
      Note(event::Kind::kInstalled, pending->request.public_key, pending->request.source);
      continue;
    }
    Count(InstallerCount::kInstallErrors);
    if (absl::IsNotFound(results[i])) {
      Log(LogLevel::kWarning, config_.name, ": the device is gone; waiting for it to come back");
      device_lost_ = true;
      return LoseDevice();
    }
    Log(LogLevel::kWarning, config_.name, ": peer ", Abbreviate(pending->request.public_key),
        " was not installed: ", results[i].message());
    if (!absl::IsUnavailable(results[i])) failed.push_back(pending->request.public_key);
  }
  // Half a peer would answer handshakes and drop data.
  if (!failed.empty()) Remove(failed);
  for (const PublicKey& key : failed) installed_.Erase(key);
  size_t given_back = 0;
  for (Pending& pending : batch_) {
    if (!pending.ready) continue;
    if (pending.request.reason != intake::Reason::kForeign) NoteInstalled(pending, steady);
    if (GiveBack(&pending)) ++given_back;
  }
  pacer_->Charge(given_back, SteadyNanos());
  if (pacer_->by_time()) Count(InstallerCount::kByTime, given_back);
}

void Installer::NoteInstalled(const Pending& pending, absl::Duration steady) {
  const intake::Demand& request = pending.request;
  Resident* peer = installed_.Find(request.public_key);
  if (peer == nullptr) {
    // An address that anybody can write into a packet is not charged for it.
    peer = installed_.Add(*pending.stored, pending.session,
                          request.source_proven ? request.source.address : Address{}, steady);
  }
  const Endpoint before = peer->session.endpoint;
  if (before.address.family != Family::kNone && before != request.source) {
    steering_->ForgetFlow(before, port_).IgnoreError();
  }
  peer->session.mark = pending.session.mark;
  peer->session.installs = pending.session.installs;
  peer->session.endpoint = request.source;
  peer->forget_stamp = peer->forget_stamp && !pending.reset;
  installed_.Touch(request.public_key, steady);
  installed_.MarkDirty(request.public_key);
}

// Returns: whether the device has got it.
bool Installer::GiveBack(Pending* pending) {
  intake::Demand& request = pending->request;
  const reinject::Packet packet{
      {request.frame.data(), request.frame_bytes}, request.ip_offset, request.udp_offset};
  const reinject::Mode mode = RouteMode(request.ifindex);
  const bool given = GivesBack(mode);
  // Of whom it is not known that he is where he says, the next initiation comes here again, until
  // his session is confirmed: else he could have whatever address answered, or kept out. Where
  // nothing is given back, his retry is what the device is to answer.
  if (request.source_proven || !given) {
    const absl::Status noted = steering_->NoteFlow(request.source, request.port);
    if (!noted.ok()) Log(LogLevel::kWarning, config_.name, ": ", noted.message());
  }
  absl::Status status;
  if (given) {
    status = mode == reinject::Mode::kLive ? injector_->InjectLive(packet, request.ifindex)
                                         : injector_->InjectRaw(packet);
    Count(status.ok() ? InstallerCount::kReinjected : InstallerCount::kReinjectErrors);
  }
  const uint64_t now_ns = SteadyNanos(), took_ns = now_ns - request.seen_ns;
  seen_to_given_back_.Record(took_ns, now_ns);
  if (!status.ok()) {
    Log(LogLevel::kWarning, config_.name, ": giving back: ", status.message());
  } else if (LogEnabled(LogLevel::kDebug)) {
    Log(LogLevel::kDebug, config_.name, ": peer ", Abbreviate(request.public_key), " proven from ",
        ToString(request.source), pending->install ? ", installed" : ", known here",
        given ? ", given back (" : " (", reinject::ToString(mode), ") after ",
        absl::StrFormat("%.2f ms", static_cast<double>(took_ns) / 1e6));
  }
  return given && status.ok();
}

reinject::Mode Installer::RouteMode(int ifindex) const {
  for (const NicRoute& route : routes_) {
    if (route.ifindex == ifindex) return route.mode;
  }
  return reinject::Mode::kWait;  // the NIC went away with the packet
}

void Installer::Housekeep() {
  if (device_ == nullptr) return;
  const absl::Duration steady = Steady();
  Look(steady);
  if (device_ == nullptr) return;
  LetLeave(steady);
  if (!evictions_.empty() && saver_->SavedUpTo() >= evictions_ticket_) return EvictSlice();
  if (dump_ != nullptr) return StepDump();
  if (!outdated_.empty()) return CorrectSlice();
  if (steady >= next_save_) {
    next_save_ = steady + kSaveInterval;
    saver_->Submit(installed_.TakeDirty());
  }
  if (steady < next_dump_) return;
  next_dump_ = steady + kDumpInterval;
  auto dump = device_->StartDump();
  dump_took_ = Steady() - steady;
  if (!dump.ok()) {
    device_lost_ = absl::IsNotFound(dump.status());
    if (device_lost_) LoseDevice();
    return;
  }
  dump_ = std::move(*dump);
  foreign_in_dump_.clear();
  removed_in_dump_.clear();
  installed_.BeginDump();
}

// Moves peers on their way out by a step each.
void Installer::LetLeave(absl::Duration steady) {
  // An inverted peer the device calls for 90 s: whoever does not answer is not to hear that.
  const bool inverts = std::any_of(routes_.begin(), routes_.end(), [](const NicRoute& route) {
    return route.mode == reinject::Mode::kInvert;
  });
  const Residents::Press press = {.established = std::exchange(pressed_, false),
                                       .probation = inverts || Crowded()};
  for (const PublicKey& key : installed_.BeginLeaving(steady, kLeaveSlice, press)) {
    steering_->ForgetFlow(installed_.Find(key)->session.endpoint, port_).IgnoreError();
  }
  for (const PublicKey& key : installed_.TakeReturned()) {
    const Resident* peer = installed_.Find(key);  // gone again, or revoked, since
    if (peer == nullptr || peer->leaving || !peer->confirmed) continue;
    steering_->NoteFlow(peer->session.endpoint, port_).IgnoreError();
  }
  // Somebody holds the store. What was seen grows stale; the next dump shows it anew.
  if (!evictions_.empty() && steady > evictions_expire_) {
    for (const PublicKey& key : evictions_) installed_.Stay(key);
    evictions_.clear();
  }
  if (!evictions_.empty()) return;
  const std::vector<PublicKey> removable = installed_.TakeRemovable(kLeaveSlice);
  if (removable.empty()) return;
  // The device forgets endpoint, counters and stamps with the peer; save them first.
  for (const PublicKey& key : removable) installed_.MarkDirty(key);
  evictions_.assign(removable.begin(), removable.end());
  evictions_ticket_ = saver_->Submit(installed_.TakeDirty());
  evictions_expire_ = steady + kVerdictLifetime;
}

void Installer::LookForNewKey() {
  look_ = true;
  eventfd_write(wake_.get(), 1);
}

void Installer::Look(absl::Duration steady) {
  if (!look_ || steady < next_look_) return;
  look_ = false;
  const absl::StatusOr<wgdev::DeviceInfo> info = device_->ReadInfo();
  const absl::Duration now = Steady();
  next_look_ = now + kLookDutyCycle * (now - steady);
  if (info.ok()) {
    device_changed_ = info->public_key != own_key_ || info->listen_port != port_;
  } else if (absl::IsNotFound(info.status())) {
    device_lost_ = true;
    LoseDevice();
  }
}

void Installer::StepDump() {
  const absl::Duration begin = Steady();
  std::vector<wgdev::PeerStats> peers;
  const absl::StatusOr<bool> more = dump_->Next(&peers);
  if (!snapshot_->Renew().ok()) peers.clear();  // and with it, no verdict on any of them
  for (const wgdev::PeerStats& stats : peers) ObserveInDump(stats);
  snapshot_->Release();
  dump_took_ += Steady() - begin;
  if (more.ok() && *more) return;
  if (!more.ok()) {
    Log(LogLevel::kDebug, config_.name, ": dump: ", more.status().message());
    if (absl::IsNotFound(more.status())) {
      device_lost_ = true;
      return LoseDevice();
    }
  } else {
    device_changed_ = dump_->public_key() != own_key_ || dump_->listen_port() != port_;
  }
  const bool complete = more.ok() && !dump_->interrupted();
  dump_.reset();
  FinishDump(complete);
}

// What a dump says of them is from before.
std::vector<absl::Status> Installer::Remove(std::span<const PublicKey> keys) {
  if (dump_ != nullptr) removed_in_dump_.insert(keys.begin(), keys.end());
  return device_->Remove(keys);
}

void Installer::ObserveInDump(const wgdev::PeerStats& stats) {
  if (removed_in_dump_.contains(stats.public_key)) return;
  Resident* peer = installed_.Find(stats.public_key);
  if (peer == nullptr) return AdoptUnknown(stats);
  const Endpoint before = peer->session.endpoint;
  const uint64_t handshakes = peer->session.handshakes;
  if (installed_.Observe(stats.public_key, stats, Steady())) {
    Count(InstallerCount::kConfirmed);
    Note(event::Kind::kConfirmed, stats.public_key, stats.endpoint);
    if (LogEnabled(LogLevel::kDebug)) {
      Log(LogLevel::kDebug, config_.name, ": peer ", Abbreviate(stats.public_key),
          " session confirmed");
    }
  }
  // The store has the last word: a peer that was deleted, moved or has expired goes.
  store::PeerView stored;
  const auto found = snapshot_->ViewPeer(stats.public_key, &stored);
  const bool ours = found == store::Snapshot::Found::kYes && stored.device == config_.name &&
                    stored.expires > absl::Now();
  if (!ours && found != store::Snapshot::Found::kDamaged) {
    steering_->ForgetFlow(before, port_).IgnoreError();
    installed_.Revoke(stats.public_key);
  }
  if (peer->leaving) return;
  const bool roamed = peer->session.endpoint != before;  // by its data packets
  if (roamed && before.address.family != Family::kNone) {
    steering_->ForgetFlow(before, port_).IgnoreError();
  }
  if (peer->confirmed && (roamed || peer->session.handshakes != handshakes)) {
    steering_->NoteFlow(peer->session.endpoint, port_).IgnoreError();
  }
}

// A peer in the device that we did not put there: ours when it is stored.
void Installer::AdoptUnknown(const wgdev::PeerStats& stats) {
  const bool has_endpoint = stats.endpoint.address.family != Family::kNone;
  const auto stored = snapshot_->FindPeer(stats.public_key);
  if (snapshot_->IsRevoked(config_.name, stats.public_key)) {
    return revoked_in_dump_.push_back(stats.public_key);
  }
  if (!stored.ok() || stored->device != config_.name) {
    // Not ours, so it must go on as if we were not here: its flow passes, and the
    // shards know its key for the day it comes from elsewhere.
    foreign_in_dump_.insert(stats.public_key);
    if (has_endpoint && !foreign_->contains(stats.public_key)) {
      steering_->NoteFlow(stats.endpoint, port_).IgnoreError();
    }
  } else {
    const store::Session session =
        snapshot_->FindSession(stats.public_key).value_or(store::Session{});
    Resident* peer = installed_.Add(*stored, session, session.endpoint.address, Steady());
    // Its counters in the device go on from what was saved of them.
    peer->received_base -= std::min(peer->received_base, stats.received_bytes);
    peer->sent_base -= std::min(peer->sent_base, stats.sent_bytes);
    installed_.Observe(stats.public_key, stats, Steady());
    Count(InstallerCount::kAdopted);
    if (stats.digest != wgdev::DigestOf(stored->config)) outdated_.push_back(stats.public_key);
    if (has_endpoint) steering_->NoteFlow(stats.endpoint, port_).IgnoreError();
  }
}

void Installer::FinishDump(bool complete) {
  RemoveRevoked(complete);
  if (config_.owned) RemoveForeign();
  // Absence from a dump that missed some means nothing.
  if (!complete) foreign_in_dump_.insert(foreign_->begin(), foreign_->end());
  if (foreign_in_dump_ != *foreign_) {
    if (foreign_in_dump_.size() > foreign_->size()) {
      Log(LogLevel::kInfo, config_.name, ": ", foreign_in_dump_.size(),
          " peers in the device are not stored; they are left alone",
          config_.owned ? " until the next dump" : "");
    }
    foreign_ = std::make_shared<const intake::ForeignPeers>(foreign_in_dump_);
  }
  foreign_count_ = foreign_->size();
  const absl::Duration steady = Steady();
  next_dump_ = std::max(next_dump_, steady + std::min(kDumpPauseMax, kDumpDutyCycle * dump_took_));
  for (const PublicKey& key : installed_.EndDump(complete)) {
    Count(InstallerCount::kMissing);
    steering_->ForgetFlow(installed_.Find(key)->session.endpoint, port_).IgnoreError();
    installed_.Erase(key);
  }
}

// Peers that were deleted while we could not take them out of the device: before a
// crash, before they were adopted, by another process. A complete dump that shows none of
// the others ends the memory of them.
void Installer::RemoveRevoked(bool complete) {
  const std::vector<PublicKey> revoked = std::exchange(revoked_in_dump_, {});
  if (!revoked.empty()) {
    const std::vector<absl::Status> results = Remove(revoked);
    for (size_t i = 0; i < revoked.size(); ++i) {
      if (!results[i].ok()) continue;
      Count(InstallerCount::kEvictedRevoked);
      Note(event::Kind::kEvicted, revoked[i], {}, "no longer stored");
      ForgetRevoked(revoked[i]);
    }
  } else if (complete && !std::exchange(swept_, true)) {
    committer_->Submit(
        [device = config_.name, made = made_](store::Writer& writer) {
          return writer.ForgetRevokedBefore(device, made);
        },
        [](const absl::Status&) {});  // they do no harm
  }
}

void Installer::ForgetRevoked(const PublicKey& key) {
  committer_->Submit([device = config_.name,
                      key](store::Writer& writer) { return writer.ForgetRevoked(device, key); },
                     [](const absl::Status&) {});  // the next start finds it done
}

// The device is ours alone. Who was there in two dumps and is not stored goes; a peer
// just being moved in by somebody has a second to be stored.
void Installer::RemoveForeign() {
  std::vector<PublicKey> keys;
  if (!snapshot_->Renew().ok()) return;
  for (const PublicKey& key : foreign_in_dump_) {
    if (keys.size() < kSlice && foreign_->contains(key) &&
        absl::IsNotFound(snapshot_->FindPeer(key).status())) {
      keys.push_back(key);
    }
  }
  snapshot_->Release();
  if (keys.empty()) return;
  const std::vector<absl::Status> results = Remove(keys);
  for (size_t i = 0; i < keys.size(); ++i) {
    if (!results[i].ok()) continue;
    Count(InstallerCount::kDisowned);
    Note(event::Kind::kEvicted, keys[i], {}, "not stored, and the device is owned");
    foreign_in_dump_.erase(keys[i]);
  }
}

// The store changed while nobody saw to the device.
void Installer::CorrectSlice() {
  std::vector<store::Peer> peers;
  std::vector<wgdev::PeerInstall> installs;
  if (!snapshot_->Renew().ok()) return;
  for (size_t i = 0; i < kSlice && !outdated_.empty(); ++i) {
    const PublicKey key = outdated_.front();
    outdated_.pop_front();
    absl::StatusOr<store::Peer> peer = snapshot_->FindPeer(key);
    const bool ours = peer.ok() && peer->device == config_.name && installed_.Find(key) != nullptr;
    if (ours) peers.push_back(std::move(*peer));
  }
  snapshot_->Release();
  for (const store::Peer& peer : peers) installs.push_back({.config = &peer.config});
  const std::vector<absl::Status> results = device_->Install(installs);
  for (size_t i = 0; i < results.size(); ++i) {
    Count(results[i].ok() ? InstallerCount::kCorrected : InstallerCount::kInstallErrors);
    if (absl::IsUnavailable(results[i])) outdated_.push_back(peers[i].config.public_key);
    if (absl::IsNotFound(results[i])) {
      device_lost_ = true;
      return LoseDevice();
    }
  }
}

void Installer::EvictSlice() {
  std::vector<PublicKey> slice;
  while (!evictions_.empty() && slice.size() < kSlice) {
    const PublicKey key = evictions_.front();
    evictions_.pop_front();
    // It may have come back through us since the dump.
    const Resident* peer = installed_.Find(key);
    if (peer == nullptr || !peer->leaving) continue;
    if (!peer->revoked && saver_->Waits(key)) {
      installed_.Stay(key);  // the device alone knows its newest timestamp
    } else {
      slice.push_back(key);
    }
  }
  if (slice.empty()) return;
  const std::vector<absl::Status> results = Remove(slice);
  for (size_t i = 0; i < slice.size(); ++i) {
    if (!results[i].ok()) {
      Log(LogLevel::kWarning, config_.name, ": peer ", Abbreviate(slice[i]),
          " was not removed: ", results[i].message());
      installed_.Stay(slice[i]);
      continue;
    }
    const Resident& peer = *installed_.Find(slice[i]);
    const char* reason = peer.revoked     ? "no longer stored"
                         : peer.confirmed ? "its session is dead"
                                          : "no session came about";
    Count(peer.revoked     ? InstallerCount::kEvictedRevoked
          : peer.confirmed ? InstallerCount::kEvictedIdle
                           : InstallerCount::kEvictedUnconfirmed);
    Note(event::Kind::kEvicted, slice[i], {}, reason);
    Log(LogLevel::kDebug, config_.name, ": peer ", Abbreviate(slice[i]), " evicted (", reason, ")");
    if (peer.revoked) ForgetRevoked(slice[i]);
    installed_.Erase(slice[i]);
  }
}

// --- what the control interface asks ------------------------------------------

void Installer::Note(event::Kind kind, const PublicKey& key, const Endpoint& source,
                     const char* reason) const {
  if (!events_->watched()) return;
  events_->Append({.kind = kind,
                   .at = absl::Now(),
                   .device = config_.name,
                   .peer = key,
                   .source = source,
                   .reason = reason});
}

std::optional<roster::Installed> Installer::Find(const PublicKey& key) const {
  const auto lock = Lock();
  const Resident* peer = installed_.Find(key);
  if (peer == nullptr) return std::nullopt;
  return roster::Installed{peer->leaving     ? "leaving"
                                  : peer->confirmed ? "established"
                                                    : "probation",
                                  peer->session};
}

std::vector<PublicKey> Installer::ListInstalled(const std::optional<PublicKey>& after,
                                                size_t count) const {
  const auto lock = Lock();
  return installed_.List(after, count);
}

// The lock is the order: a batch that read the store before the change has ended,
// so what it installed is found here; a later one reads the change.
absl::Status Installer::Sync(const PublicKey& key) {
  const auto lock = Lock();
  if (device_ == nullptr) return absl::OkStatus();  // what was revoked is remembered
  WICKET_RETURN_IF_ERROR(snapshot_->Renew());
  const auto stored = snapshot_->FindPeer(key);
  const bool revoked = snapshot_->IsRevoked(config_.name, key);
  snapshot_->Release();
  if (!stored.ok() && !absl::IsNotFound(stored.status())) return stored.status();
  const Resident* peer = installed_.Find(key);
  if (stored.ok() && stored->device == config_.name && stored->expires > absl::Now()) {
    if (peer == nullptr) return absl::OkStatus();
    installed_.SetPinned(key, stored->pinned);
    if (peer->revoked) installed_.Stay(key);  // deleted, and created again before it was out
    return device_->Install({{{.config = &stored->config}}})[0];
  }
  if (peer == nullptr && !revoked) return absl::OkStatus();
  // Until the device was seen as a whole, it may hold a peer that is not adopted yet.
  if (peer != nullptr || !swept_) {
    const absl::Status removed = Remove({{key}})[0];
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
  }
  if (peer != nullptr) {
    steering_->ForgetFlow(peer->session.endpoint, port_).IgnoreError();
    Count(InstallerCount::kEvictedRevoked);
    Note(event::Kind::kEvicted, key, peer->session.endpoint, "no longer stored");
    installed_.Erase(key);
  }
  if (revoked) ForgetRevoked(key);
  return absl::OkStatus();
}

void Installer::ForgetMark(const PublicKey& key) {
  const auto lock = Lock();
  Resident* peer = installed_.Find(key);
  if (peer == nullptr) return;
  peer->session.mark = {};
  peer->forget_stamp = true;
  installed_.MarkDirty(key);  // what waits to be saved has the old mark
  saver_->Submit(installed_.TakeDirty());
}

void Installer::FillStatus(document::DeviceStatus* status) const {
#define WICKET_INSTALLER_FILL(name, text, help) \
  status->counts[text] =                        \
      counts_[static_cast<size_t>(InstallerCount::k##name)].load(std::memory_order_relaxed);
  WICKET_INSTALLER_COUNTS(WICKET_INSTALLER_FILL)
#undef WICKET_INSTALLER_FILL
  status->installed = installed_count_;
  status->installed_unconfirmed = unconfirmed_count_;
  status->foreign = foreign_count_;
  Histogram recent;
  seen_to_given_back_.AddTo(SteadyNanos(), &recent);
  status->install_count = recent.Count();
  status->install_p50_ms = static_cast<double>(recent.Quantile(0.5)) / 1e6;
  status->install_p99_ms = static_cast<double>(recent.Quantile(0.99)) / 1e6;
}

}  // namespace wicket::installer
