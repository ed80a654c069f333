// What the kernel says of the NICs that are served, asked by a thread of its own: some of the
// answers wait for RTNL, which a driver or a tool may hold for seconds.
#pragma once

#include <array>
#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/calls.h"
#include "base/handoff.h"
#include "base/task_clock.h"
#include "xsk/steering.h"

namespace wicket::gateway {

struct NicFacts {
  uint32_t queues = 0;
  std::array<uint8_t, 6> mac{};
  bool serves = false;  // our program is on its hook
};

// A look at the NICs that were asked for.
struct NicLook {
  uint64_t began_ns = 0, ended_ns = 0;  // in SteadyNanos()
  // Without those whose queues could not be asked for. A MAC or hook that could not be read is as
  // one of zeros or without our program.
  std::map<int, NicFacts> by_ifindex;
};

// Thread: one, the gateway's; its own thread looks, and removes pins that are out of use.
class NicWatch {
 public:
  // `steering` and `wake` outlive it. `wake`: woken at the end of each look; or null.
  NicWatch(xsk::Steering* steering, const Calls* wake);
  // Waits for the end of a look.
  ~NicWatch();

  // Asks for another look, and for Steering::ForgetOlder() before it. Does not wait.
  void Ask(std::vector<int> ifindexes, bool forget_older);
  // Returns: the latest look, or null when there is none since the last call.
  std::unique_ptr<NicLook> Take() { return looks_.Take(); }
  // Of the look under way.
  const TaskClock& task() const { return task_; }

 private:
  void Loop();
  NicLook Look(const std::vector<int>& ifindexes) const;

  xsk::Steering* steering_;
  const Calls* wake_;
  Handoff<NicLook> looks_;
  std::mutex mutex_;  // held for a moment
  std::condition_variable changed_;
  std::optional<std::vector<int>> asked_;
  bool forget_older_ = false, ends_ = false;
  TaskClock task_;
  std::thread thread_;
};

}  // namespace wicket::gateway
