#include "tools/blast/find_max.h"

#include <boost/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace wicket::blast {
namespace {

constexpr double kPrecision = 0.05, kRateMax = 1e8;
constexpr int kConfirmations = 2;
constexpr int kSpoilt = 2;  // repetitions of a trial that the generator spoilt
constexpr absl::Duration kPause = absl::Milliseconds(20);
constexpr absl::Duration kRest = absl::Milliseconds(500);  // between trials, for queues to drain

double Milliseconds(uint64_t ns) { return static_cast<double>(ns) / 1e6; }

class Search {
 public:
  Search(LoadOptions options, const Bounds& bounds, const Fleet* fleet, const Ending& ending,
         const std::function<void(const Trial&)>& told)
      : options_(std::move(options)),
        bounds_(bounds),
        fleet_(fleet),
        ending_(ending),
        told_(told) {}

  absl::StatusOr<FoundMax> Run() {
    const absl::Status sought = Seek();
    if (!absl::IsResourceExhausted(sought) && !absl::IsOutOfRange(sought)) {
      WICKET_RETURN_IF_ERROR(sought);
    } else {
      found_.limit = std::string(sought.message());
      found_.generator = absl::IsOutOfRange(sought);
    }
    found_.confirmed = sought.ok() && found_.rate > 0 && !ending_;
    return std::move(found_);
  }

 private:
  absl::Status Seek() {
    double& borne = found_.rate;
    double failed = 0;
    for (double rate = options_.pace.rate; failed == 0 && rate < kRateMax && !ending_; rate *= 2) {
      WICKET_ASSIGN_OR_RETURN(const bool bears, Bears(rate));
      (bears ? borne : failed) = rate;
    }
    while (borne > 0 && failed > borne * (1 + kPrecision) && !ending_) {
      const double middle = (borne + failed) / 2;
      WICKET_ASSIGN_OR_RETURN(const bool bears, Bears(middle));
      (bears ? borne : failed) = middle;
    }
    for (int confirmed = 0; borne > 0 && confirmed < kConfirmations && !ending_;) {
      WICKET_ASSIGN_OR_RETURN(const bool bears, Bears(borne));
      if (bears) {
        ++confirmed;
        continue;
      }
      if (ending_) break;  // stopped, not failed
      borne *= 1 - kPrecision;
      confirmed = 0;
      if (borne < options_.pace.rate) borne = 0;
    }
    return absl::OkStatus();
  }

  // A trial in which the generator was held up says nothing about the endpoint: it is repeated.
  absl::StatusOr<bool> Bears(double rate) {
    for (int spoilt = 0;; ++spoilt) {
      WICKET_ASSIGN_OR_RETURN(const Trial trial, Try(rate));
      if (trial.failed.empty()) return true;
      if (trial.generator && spoilt < kSpoilt && !ending_) continue;
      found_.limit = trial.failed;
      found_.generator = trial.generator;
      return false;
    }
  }

  absl::StatusOr<Trial> Try(double rate) {
    LoadOptions options = options_;
    options.pace.rate = rate;
    options.pace.count_max = UINT64_MAX;
    if (options.prepared > 0) {
      const double wanted = rate * absl::ToDoubleSeconds(options.pace.duration) + 1;
      if (wanted > static_cast<double>(kPreparedMax)) {
        return absl::OutOfRangeError(absl::StrFormat(
            "%.0f packets to prepare for a trial at %.0f a second, of %d at most: a "
            "shorter --duration goes further",
            wanted, rate, kPreparedMax));
      }
      options.prepared = static_cast<uint64_t>(wanted);
    }
    WICKET_ASSIGN_OR_RETURN(auto load, Load::Make(options, fleet_, ending_));
    load->Start();
    while (!load->done()) absl::SleepFor(kPause);
    load->Join();
    if (ending_) return Trial{.rate = rate, .failed = "stopped"};
    auto summary = std::make_unique<Summary>();
    Summarize(load->counts(), summary.get());
    const bool newcomers = options.mix.Has(Kind::kNew) || options.mix.Has(Kind::kCookie);
    if (newcomers) options_.clients.first += summary->clients;
    if (newcomers && summary->exhausted > 0) {
      return absl::ResourceExhaustedError(absl::StrCat(
          "all ", fleet_->size(), " clients have come, at ", rate,
          " a second: each trial takes new ones; tell the target of more (--clients)"));
    }
    Trial trial{rate,
                summary->Loss(),
                Milliseconds(summary->latency.Quantile(0.5)),
                Milliseconds(summary->latency.Quantile(0.99)),
                "",
                false};
    if (const std::string why = GeneratorWasTheLimit(*summary, options); !why.empty()) {
      trial.failed = why;
      trial.generator = true;
    } else if (trial.loss > bounds_.loss_max) {
      trial.failed = absl::StrFormat("loss of %.2f %%", 100 * trial.loss);
    } else if (trial.p99_ms > bounds_.p99_max_ms) {
      // The latency begins at the intended time, so part of it may be the generator's lateness.
      const double late_ms = Milliseconds(summary->lateness.Quantile(0.99));
      trial.generator = late_ms > bounds_.p99_max_ms / 4;
      trial.failed = trial.generator
                         ? absl::StrFormat("packets left up to %.1f ms late (p99)", late_ms)
                         : absl::StrFormat("p99 of %.1f ms", trial.p99_ms);
    }
    found_.trials.push_back(trial);
    told_(trial);
    if (!ending_) absl::SleepFor(kRest);
    return trial;
  }

  LoadOptions options_;
  const Bounds bounds_;
  const Fleet* fleet_;
  const Ending& ending_;
  const std::function<void(const Trial&)>& told_;
  FoundMax found_;
};

}  // namespace

absl::StatusOr<FoundMax> FindMax(LoadOptions options, const Bounds& bounds, const Fleet* fleet,
                                 const Ending& ending,
                                 const std::function<void(const Trial&)>& told) {
  return Search(std::move(options), bounds, fleet, ending, told).Run();
}

std::string ToJson(const FoundMax& found, const Bounds& bounds) {
  boost::json::array trials;
  for (const Trial& trial : found.trials) {
    trials.push_back({{"rate", trial.rate},
                      {"loss", trial.loss},
                      {"p50_ms", trial.p50_ms},
                      {"p99_ms", trial.p99_ms},
                      {"failed", trial.failed}});
  }
  return boost::json::serialize(
      boost::json::object{{"max_rate", found.rate},
                          {"confirmed", found.confirmed},
                          {"limit", found.limit},
                          {"generator_was_the_limit", found.generator},
                          {"bounds", {{"loss", bounds.loss_max}, {"p99_ms", bounds.p99_max_ms}}},
                          {"trials", std::move(trials)}});
}

}  // namespace wicket::blast
