#include "gateway/findings.h"

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "gateway/machine.h"
#include "report/diagnose.h"

namespace wicket::gateway {
namespace {

constexpr absl::Duration kKept = absl::Seconds(5);
constexpr auto kPatience = std::chrono::seconds(1);
constexpr absl::Duration kHang = absl::Seconds(5);  // a busy machine may take more than a second

}  // namespace

struct Findings::Shared {
  explicit Shared(const Config& running) : config(running) {}

  const Config config;
  std::mutex mutex;  // held to copy what was found
  std::condition_variable changed;
  std::optional<report::Machine> machine;
  absl::Duration looked = -absl::InfiniteDuration();  // steady time of the last look's end
  bool looking = false;
  absl::Duration began;  // of the look under way
};

Findings::Findings(const Config& config, const report::Reporter* reporter)
    : reporter_(reporter), shared_(std::make_shared<Shared>(config)) {}

std::string Findings::ToJson() {
  report::Machine machine;
  {
    std::unique_lock lock(shared_->mutex);
    if (!shared_->looking && SteadyNow() - shared_->looked > kKept) {
      shared_->looking = true;
      shared_->began = SteadyNow();
      try {
        std::thread([shared = shared_] {
          NameThread("look");
          DropRights();
          report::Machine fresh = LookAtMachineFromWithin(shared->config);
          const std::lock_guard held(shared->mutex);
          shared->machine = std::move(fresh);
          shared->looked = SteadyNow();
          shared->looking = false;
          shared->changed.notify_all();
        }).detach();
      } catch (const std::system_error& error) {  // no thread: another time
        shared_->looking = false;
        Log(LogLevel::kWarning, "no thread to look at the machine: ", error.what());
      }
    }
    shared_->changed.wait_for(lock, kPatience, [&] { return !shared_->looking; });
    if (shared_->machine) machine = *shared_->machine;
    machine.from_within = true;
    machine.look_hangs = shared_->looking && SteadyNow() - shared_->began > kHang;
  }
  const auto status = reporter_->latest();
  return report::ToJson(report::Diagnose(machine, status.get()));
}

}  // namespace wicket::gateway
