// What the shards and the XDP program are told of the devices.
#pragma once

#include <memory>
#include <vector>

#include "base/published.h"
#include "gateway/devices.h"
#include "intake/device_table.h"
#include "noise/cookie.h"
#include "xsk/steering.h"

namespace wicket::gateway {

// Thread: one.
class Services {
 public:
  // `steering` outlives it.
  explicit Services(xsk::Steering* steering)
      : steering_(steering), table_(std::make_unique<const intake::DeviceTable>()) {}

  // The shards' own.
  Published<intake::DeviceTable>* table() { return &table_; }

  // Publishes which devices are served. The shards learn it before the program: what it steers to a
  // shard that knows a port no more is dropped, and what a shard knows and the program does not
  // passes to the kernel.
  // `shards`: that share the budgets.
  absl::Status Publish(const Devices& devices, uint64_t shards, uint64_t cookies_per_second);
  // Makes the cookies' secret another one when it is old enough. The program knows it before a
  // shard makes a cookie with it: Publish() must follow. Returns: whether it did.
  absl::StatusOr<bool> RotateCookies();
  // Frees tables that no shard reads any more.
  void Collect() { table_.Collect(); }

 private:
  xsk::Steering* steering_;
  Published<intake::DeviceTable> table_;
  std::shared_ptr<const noise::CookieSecrets> cookies_;
  absl::Duration next_cookies_ = -absl::InfiniteDuration();
};

}  // namespace wicket::gateway
