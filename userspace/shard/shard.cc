#include "shard/shard.h"

#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"

namespace wicket::shard {

using intake::Arrival;
using intake::Now;
using intake::Verdict;

static_assert(xsk::kBatchMax <= Pipeline::kBatchMax);
namespace {

constexpr int kBeat_ms = 100;  // a fifth of what counts as stale
// An installer that is silent for longer is stuck in a call: its device or RTNL does not answer.
constexpr uint64_t kInstallerSilenceMax_ns = 3'000'000'000;

bool InstallersAnswer(const DeviceTable& devices, uint64_t now_ns) {
  return std::all_of(
      devices.devices.begin(), devices.devices.end(), [now_ns](const DeviceTable::Entry& device) {
        if (!device.identity || device.installer_beat_ns == nullptr) return true;
        const uint64_t beat_ns = device.installer_beat_ns->load(std::memory_order_relaxed);
        return beat_ns + kInstallerSilenceMax_ns > now_ns;
      });
}

}  // namespace

Shard::Shard(Options options, std::unique_ptr<xsk::Socket> socket,
             std::unique_ptr<Pipeline> pipeline, Published<DeviceTable>* devices)
    : options_(std::move(options)),
      socket_(std::move(socket)),
      pipeline_(std::move(pipeline)),
      devices_(devices),
      reader_(*devices),
      load_(pipeline_->batches()),
      cookies_sent_(options_.words.cookies_sent->load(std::memory_order_relaxed)),
      stop_(eventfd(0, EFD_CLOEXEC)) {
  devices_->Add(&reader_);
  Beat(reader_.Renew());  // packets that arrive before the thread starts wait instead of passing
  thread_ = std::thread([this] { Loop(); });
}

Shard::~Shard() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
  devices_->Remove(&reader_);
}

void Shard::Beat(const DeviceTable& devices) {
  const uint64_t now_ns = SteadyNanos();
  progress_ns_.store(now_ns, std::memory_order_relaxed);
  if (!readable_ || !InstallersAnswer(devices, now_ns)) return;
  options_.words.beat_ns->store(now_ns, std::memory_order_relaxed);
}

void Shard::Loop() {
  NameThread(options_.name);
  ServePackets();
  if (options_.cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<size_t>(options_.cpu), &cpus);
    sched_setaffinity(0, sizeof(cpus), &cpus);
  }
  DropRights();  // socket, maps and store are open
  pollfd fds[2] = {{socket_->fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  while (!(fds[1].revents & POLLIN)) {
    const DeviceTable& devices = reader_.Renew();
    Beat(devices);
    options_.words.cookie_interval_ns->store(devices.cookie_interval_ns, std::memory_order_relaxed);
    const std::span<xsk::RxFrame> frames =
        socket_->Peek(pipeline_->BatchFor(std::max<uint32_t>(socket_->Waiting(), 1)));
    if (frames.empty()) {
      NoteAsked(0, SteadyNanos());
      socket_->Release();  // wakes a kernel that waits for frames
      // A socket whose NIC is gone reports errors for ever; the gateway ends this shard.
      if (fds[0].revents & (POLLERR | POLLHUP)) fds[0].fd = -1;
      poll(fds, 2, kBeat_ms);
      load_.NoteIdle(SteadyNanos());  // the ring was empty until now
      if (!readable_) {
        readable_ = pipeline_->Begin().ok();
        pipeline_->End();
      }
      continue;
    }
    fds[1].revents = 0;
    poll(&fds[1], 1, 0);
    RunBatch(devices, frames);
  }
}

void Shard::RunBatch(const DeviceTable& devices, std::span<xsk::RxFrame> frames) {
  const absl::Status began = pipeline_->Begin();
  if (readable_ && !began.ok()) {
    Log(LogLevel::kError, options_.name, ": ", began.message(),
        "; everything passes to the kernel until the store can be read");
  }
  readable_ = began.ok();
  if (!readable_) pipeline_->CountUnreadable(frames.size());
  Now now{SteadyNanos(), InstantNow(), false};
  // Full probation slots are load too: senders are asked for a cookie before any is refused.
  const bool crowded = std::any_of(
      devices.devices.begin(), devices.devices.end(), [](const DeviceTable::Entry& device) {
        return device.crowded != nullptr && device.crowded->load(std::memory_order_relaxed);
      });
  if (crowded) load_.Raise(now.ktime_ns);
  uint64_t budget = 1;
  for (const DeviceTable::Entry& device : devices.devices) budget += device.handshakes_per_second;
  load_.SetBudget(budget);
  const auto taken = static_cast<uint32_t>(frames.size());
  const uint32_t waiting = socket_->Waiting();
  ring_waiting_.Record(waiting);
  load_.Note(taken, waiting - taken, now.ktime_ns);
  if (load_.waited_ns() > 0) {
    waits_.Record(load_.waited_ns(), now.ktime_ns);
    waits_ever_.Record(load_.waited_ns());
  }
  now.under_load = load_.UnderLoad(now.ktime_ns);
  bool proven = false, overrun = false;
  uint32_t asked = 0;
  if (readable_) {
    std::array<Arrival, xsk::kBatchMax> arrivals;
    for (size_t i = 0; i < frames.size(); ++i) {
      arrivals[i] = intake::ArrivalOf({frames[i].data, frames[i].bytes});
    }
    const std::span<const Verdict> verdicts =
        pipeline_->RunBatch(devices, std::span(arrivals).first(frames.size()), now);
    for (size_t i = 0; i < verdicts.size(); ++i) {
      proven |= verdicts[i] == Verdict::kProven;
      overrun |= verdicts[i] == Verdict::kInstallerBusy;
      if (verdicts[i] != Verdict::kCookie) continue;
      ++asked;
      if (!socket_->Reply(frames[i], pipeline_->reply_bytes(i))) pipeline_->CountLostReply();
    }
  }
  pipeline_->End();
  const uint64_t now_ns = SteadyNanos();
  if (readable_ && pipeline_->proof_ns() > 0) load_.NoteProof(pipeline_->proof_ns());
  if (overrun || pipeline_->beyond_budget()) load_.Raise(now.ktime_ns);
  NoteAsked(asked, now_ns);
  load_raised_.store(load_.raised(), std::memory_order_relaxed);
  socket_->Release();
  if (proven) {
    for (int fd : options_.wake_fds) eventfd_write(fd, 1);
  }
}

// Counts the senders that the program answered by itself too. Otherwise the load would seem to end
// as soon as the program takes the flood off the ring.
void Shard::NoteAsked(uint64_t asked, uint64_t now_ns) {
  const uint64_t sent = options_.words.cookies_sent->load(std::memory_order_relaxed);
  load_.NoteAsked(asked + (sent - cookies_sent_), now_ns);
  cookies_sent_ = sent;
  options_.words.load_until_ns->store(load_.until_ns(), std::memory_order_relaxed);
}

}  // namespace wicket::shard
