#include "shard/shard.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#include "absl/time/clock.h"
#include "base/log.h"
#include "xsk/steering.h"

namespace wicket::shard {

static_assert(xsk::kBatchMax <= Pipeline::kBatchMax);
namespace {

constexpr int kBeat_ms = 100;  // a fifth of what counts as stale

}  // namespace

Shard::Shard(Options options, std::unique_ptr<xsk::Socket> socket,
             std::unique_ptr<Pipeline> pipeline, Published<DeviceTable>* devices)
    : options_(std::move(options)),
      socket_(std::move(socket)),
      pipeline_(std::move(pipeline)),
      devices_(devices),
      reader_(*devices),
      stop_(eventfd(0, EFD_CLOEXEC)) {
  devices_->Add(&reader_);
  thread_ = std::thread([this] { Loop(); });
}

Shard::~Shard() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
  devices_->Remove(&reader_);
}

void Shard::Loop() {
  pthread_setname_np(pthread_self(), options_.name.substr(0, 15).c_str());
  if (options_.cpu >= 0) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(static_cast<size_t>(options_.cpu), &cpus);
    sched_setaffinity(0, sizeof(cpus), &cpus);
  }
  pollfd fds[2] = {{socket_->fd(), POLLIN, 0}, {stop_.get(), POLLIN, 0}};
  bool readable = true;  // the store; without it there is no heartbeat, and all passes
  while (!(fds[1].revents & POLLIN)) {
    if (readable) options_.beat->store(xsk::KtimeNanos(), std::memory_order_relaxed);
    const DeviceTable& devices = reader_.Renew();
    const std::span<xsk::RxFrame> frames = socket_->Peek();
    if (frames.empty()) {
      socket_->Release();  // wakes a kernel that waits for frames
      // A socket whose NIC is gone reports an error for ever; the gateway ends this shard.
      if (fds[0].revents & (POLLERR | POLLHUP)) fds[0].fd = -1;
      poll(fds, 2, kBeat_ms);
      if (!readable) {
        readable = pipeline_->Begin().ok();
        pipeline_->End();
      }
      continue;
    }
    fds[1].revents = 0;
    poll(&fds[1], 1, 0);
    const absl::Status began = pipeline_->Begin();
    if (readable && !began.ok()) {
      Log(LogLevel::kError, options_.name, ": ", began.message(),
          "; everything passes to the kernel until the store can be read");
    }
    readable = began.ok();
    if (!readable) pipeline_->CountUnreadable(frames.size());
    const Now now{xsk::KtimeNanos(), absl::Now()};
    bool proven = false;
    if (readable) {
      std::array<Pipeline::Frame, xsk::kBatchMax> views;
      for (size_t i = 0; i < frames.size(); ++i) views[i] = {frames[i].data, frames[i].bytes};
      for (Verdict verdict :
           pipeline_->RunBatch(devices, std::span(views).first(frames.size()), now)) {
        proven |= verdict == Verdict::kProven;
      }
    }
    pipeline_->End();
    socket_->Release();
    if (proven) {
      for (int fd : options_.wake_fds) eventfd_write(fd, 1);
    }
  }
}

}  // namespace wicket::shard
