#include "gateway/nic_watch.h"

#include <net/if.h>

#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/thread.h"

namespace wicket::gateway {

NicWatch::NicWatch(std::vector<std::string> names, const xsk::Steering* steering)
    : names_(std::move(names)), steering_(steering), thread_([this] { Loop(); }) {}

NicWatch::~NicWatch() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void NicWatch::Ask() {
  {
    const std::lock_guard lock(mutex_);
    asked_ = true;
  }
  changed_.notify_one();
}

void NicWatch::Loop() {
  NameThread("nic watch");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return asked_ || ends_; });
    if (ends_) return;
    asked_ = false;
    lock.unlock();
    looks_.Put(std::make_unique<NicLook>(Look()));
    lock.lock();
  }
}

NicLook NicWatch::Look() const {
  NicLook look{.began_ns = SteadyNanos()};
  for (const std::string& name : names_) {
    const auto ifindex = static_cast<int>(if_nametoindex(name.c_str()));
    if (ifindex == 0) continue;
    look.by_ifindex[ifindex] = {.queues = xsk::QueueCount(name),
                                .mac = xsk::MacOf(ifindex),
                                .serves = steering_->Serves(ifindex)};
  }
  return look;
}

}  // namespace wicket::gateway
