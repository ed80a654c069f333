#include "gateway/serving.h"

#include <systemd/sd-daemon.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "base/log.h"
#include "gateway/reload.h"

namespace wicket::gateway {
namespace {

// Between starts of a gateway that had to stop. A disk that goes on failing is not asked more and
// more often.
constexpr absl::Duration kPauseMin = absl::Seconds(1), kPauseMax = absl::Seconds(30);
constexpr absl::Duration kStable = absl::Minutes(1);
constexpr absl::Duration kReloadPatience = absl::Seconds(10);

}  // namespace

absl::Status Serving::Start() {
  calls_ = std::make_unique<Calls>();
  const auto reload = [this, calls = calls_.get()]() -> absl::StatusOr<std::vector<std::string>> {
    auto outcome = calls->Ask([this] { return Reload(); }, kReloadPatience);
    if (outcome) return *std::move(outcome);
    return absl::UnavailableError(
        absl::StrCat("no answer: the gateway is stopping, or the reload takes longer than ",
                     absl::FormatDuration(kReloadPatience), " (its outcome will be in the log)"));
  };
  WICKET_ASSIGN_OR_RETURN(gateway_, Gateway::Start(config_, &unsaved_, reload, calls_.get()));
  started_ = SteadyNow();
  return absl::OkStatus();
}

void Serving::Tick() {
  eventfd_t ignored;
  eventfd_read(calls_->wake_fd(), &ignored);
  while (calls_->Serve(1, absl::ZeroDuration())) {
  }
  if (gateway_ == nullptr) return StartAgain();
  const absl::Status usable = gateway_->Tick();
  if (usable.ok()) return;
  Log(LogLevel::kError, usable.message(), "; opening the store again, installed peers stay");
  calls_->Close();  // closing the gateway joins connections, and one may wait for a reload
  unsaved_ = gateway_->Close();
  gateway_.reset();
  pause_ = SteadyNow() - started_ > kStable ? absl::ZeroDuration()
                                            : std::clamp(2 * pause_, kPauseMin, kPauseMax);
  next_start_ = SteadyNow() + pause_;
}

void Serving::StartAgain() {
  if (SteadyNow() < next_start_) return;
  const absl::Status started = Start();
  if (started.ok()) return Log(LogLevel::kInfo, "ready again");
  Log(LogLevel::kError, started.message());
  pause_ = std::clamp(2 * pause_, kPauseMin, kPauseMax);
  next_start_ = SteadyNow() + pause_;
}

absl::StatusOr<std::vector<std::string>> Serving::Reload() {
  sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu",
             static_cast<unsigned long long>(SteadyNanos() / 1000));
  auto read = LoadConfig(path_);
  absl::StatusOr<std::vector<std::string>> outcome = std::vector<std::string>{};
  if (!read.ok()) {
    outcome = read.status();
    Log(LogLevel::kError, "reload: the old configuration stays: ", read.status().message());
  } else {
    SetLogLevel(read->log_level);
    for (const std::string& note : read->notes) Log(LogLevel::kWarning, note);
    // What needs a restart of the process is not to slip in when the store is opened again.
    if (gateway_ == nullptr) {
      outcome = TakeReloadable(*read, &config_);
      config_.reinject = read->reinject;
    } else {
      outcome = gateway_->Reload(*read);
      config_ = gateway_->config();
    }
    if (outcome.ok()) {
      Log(LogLevel::kInfo, "reloaded ", path_,
          outcome->empty() ? ""
                           : absl::StrCat("; needs a restart: ", absl::StrJoin(*outcome, ", ")));
    } else {
      Log(LogLevel::kError, "reload: ", outcome.status().message());
    }
  }
  sd_notify(0, "READY=1");
  return outcome;
}

std::string Serving::HangingThread() const {
  return gateway_ == nullptr ? "" : gateway_->HangingThread();
}

std::string Serving::Summary() const {
  return gateway_ == nullptr ? "waits for the store" : gateway_->Summary();
}

}  // namespace wicket::gateway
