#include "report/defence.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "base/clock.h"
#include "base/log.h"
#include "installer/journal.h"

namespace wicket::report {
namespace {

constexpr double kAttack = 1000;  // refused initiations a second
constexpr absl::Duration kOver = absl::Seconds(10);
constexpr absl::Duration kAgain = absl::Seconds(10);  // it is told of while it lasts

// What nobody does who means well and is configured right.
constexpr const char* kRefused[] = {"drop_malformed", "drop_mac1",  "drop_repeat", "drop_no_cookie",
                                    "drop_answer",    "drop_rate",  "tx_cookie",   "steer_cookie",
                                    "bad_mac1",       "repeat",     "bad_static",  "unknown_peer",
                                    "expired",        "not_proven", "replay",      "over_budget",
                                    "installer_busy"};

}  // namespace

const std::vector<std::string>& TurnedAway() {
  static const auto* names = [] {
    auto* found = new std::vector<std::string>{"install_errors"};
#define WICKET_REFUSAL(name, text, help) \
  if (absl::StartsWith(help, "refused: ")) found->push_back(text);
    WICKET_INSTALLER_COUNTS(WICKET_REFUSAL)
#undef WICKET_REFUSAL
    return found;
  }();
  return *names;
}

void Defence::Note(absl::Duration steady, const document::Status& status, bool under_load,
                   uint64_t sources) {
  std::map<std::string, uint64_t> counts = status.steering;
  counts.insert(status.verdicts.begin(), status.verdicts.end());
  double install_p99_ms = 0;
  for (const document::DeviceStatus& device : status.devices) {
    install_p99_ms = std::max(install_p99_ms, device.install_p99_ms);
    for (const std::string& name : TurnedAway()) {
      counts[name] += document::CountOf(device.counts, name);
    }
  }
  const double seconds = absl::ToDoubleSeconds(steady - noted_);
  const auto rate = [&](const std::string& name) {
    const uint64_t before = before_[name], after = counts[name];
    return after > before && seconds > 0 ? static_cast<double>(after - before) / seconds : 0;
  };
  double refused = 0;
  status_.refused_per_s.clear();
  for (const char* name : kRefused) {
    const double one = rate(name);
    refused += one;
    if (one > 0) status_.refused_per_s[name] = one;
  }
  for (const std::string& name : TurnedAway()) {
    if (const double one = rate(name); one > 0) status_.refused_per_s[name] = one;
  }
  status_.proven_per_s = rate("proven");
  status_.under_load = under_load;
  status_.sources = sources;
  before_ = std::move(counts);
  noted_ = steady;

  const bool attacked = refused >= kAttack || under_load, before = status_.attack;
  if (attacked) attacked_ = steady;
  status_.attack = attacked || (before && steady - attacked_ < kOver);
  if (!before && !attacked) return;
  if (before && status_.attack && steady - told_ < kAgain) return;
  if (!before) status_.attack_since = WallNow();
  told_ = steady;
  std::map<std::string, double> figures = status_.refused_per_s;
  figures["sources"] = static_cast<double>(sources);
  figures["proven_per_s"] = status_.proven_per_s;
  figures["install_p99_ms"] = install_p99_ms;
  events_->Append({.kind = status_.attack ? event::Kind::kAttack : event::Kind::kAttackOver,
                   .at = WallNow(),
                   .device = "",
                   .peer = {},
                   .source = {},
                   .reason = under_load ? "under load" : "",
                   .figures = std::move(figures)});
  if (before && status_.attack) return;
  if (attacked) {
    Log(LogLevel::kWarning, "attack: ", static_cast<uint64_t>(refused),
        " initiations a second are refused, of about ", sources, " sources",
        under_load ? "; under load, cookies are asked for" : "");
  } else {
    Log(LogLevel::kInfo, "attack over");
  }
}

}  // namespace wicket::report
