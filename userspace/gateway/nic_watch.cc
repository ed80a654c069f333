#include "gateway/nic_watch.h"

#include <net/if.h>

#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/thread.h"

namespace wicket::gateway {

NicWatch::NicWatch(xsk::Steering* steering, const Calls* wake)
    : steering_(steering), wake_(wake), thread_([this] { Loop(); }) {}

NicWatch::~NicWatch() {
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void NicWatch::Ask(std::vector<int> ifindexes, bool forget_older) {
  {
    const std::lock_guard lock(mutex_);
    forget_older_ |= forget_older;
    asked_ = std::move(ifindexes);
  }
  changed_.notify_one();
}

void NicWatch::Loop() {
  NameThread("nic watch");
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return asked_.has_value() || ends_; });
    if (ends_) return;
    const std::vector<int> ifindexes = *std::exchange(asked_, std::nullopt);
    const bool forget_older = std::exchange(forget_older_, false);
    lock.unlock();
    task_.Begin();
    if (forget_older) steering_->ForgetOlder();  // before the look, after which NICs may be taken
    looks_.Put(std::make_unique<NicLook>(Look(ifindexes)));
    task_.End();
    if (wake_ != nullptr) wake_->Wake();
    lock.lock();
  }
}

NicLook NicWatch::Look(const std::vector<int>& ifindexes) const {
  NicLook look{.began_ns = SteadyNanos()};
  for (const int ifindex : ifindexes) {
    char name[IF_NAMESIZE];
    if (if_indextoname(static_cast<unsigned>(ifindex), name) == nullptr) continue;
    const std::optional<uint32_t> queues = xsk::AskQueueCount(name);
    if (!queues) continue;
    look.by_ifindex[ifindex] = {
        .queues = *queues, .mac = xsk::MacOf(ifindex), .serves = steering_->Serves(ifindex)};
  }
  look.ended_ns = SteadyNanos();
  return look;
}

}  // namespace wicket::gateway
