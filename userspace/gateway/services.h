// Tells the shards and the XDP program which devices are served.
#pragma once

#include <memory>
#include <vector>

#include "base/published.h"
#include "gateway/device_watch.h"
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

  // The table that the shards read.
  Published<intake::DeviceTable>* table() { return &table_; }

  // Publishes which devices are served. The shards learn it before the program: a packet that the
  // program steers to a shard that does not serve the port is dropped, while the program passes
  // packets for a port that only the shards serve.
  // `shards`: the number of shards that share the budgets.
  // Errors: those of Steering::Serve; the shards have learned it all the same.
  absl::Status Publish(const DeviceWatch& devices, uint64_t shards, uint64_t cookies_per_second);
  // Replaces the cookie secret when it is old enough. The program learns it before a shard makes a
  // cookie with it: Publish() must follow. Returns: whether the secret was replaced.
  // Errors: those of Steering::AddSecret; the next call tries again.
  absl::StatusOr<bool> RotateCookies();
  // Frees tables that no shard reads.
  void Collect() { table_.Collect(); }

 private:
  xsk::Steering* steering_;
  Published<intake::DeviceTable> table_;
  std::shared_ptr<const noise::CookieSecrets> cookies_;
  absl::Duration next_cookies_ = -absl::InfiniteDuration();
};

}  // namespace wicket::gateway
