#include "report/history.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace wicket::report {
namespace {

constexpr const char* kNames[] = {
#define WICKET_HISTORY_NAME(name) #name,
    WICKET_HISTORY_FIGURES(WICKET_HISTORY_NAME)
#undef WICKET_HISTORY_NAME
};

// A count that went down began again, with a device that came back.
double Rate(uint64_t before, uint64_t after, double seconds) {
  return after < before ? 0 : static_cast<double>(after - before) / seconds;
}

template <typename Samples, typename Value>
std::string ListOf(const Samples& samples, Value value) {
  std::string list = "[";
  for (const auto& sample : samples) {
    absl::StrAppendFormat(&list, "%s%.6g", list.size() > 1 ? "," : "", value(*sample));
  }
  return list + "]";
}

}  // namespace

History::Totals History::TotalsOf(const document::Status& status) {
  Totals totals;
  for (const document::DeviceStatus& device : status.devices) {
    totals.installs += document::CountOf(device.counts, "installs");
    totals.confirmed += document::CountOf(device.counts, "confirmed");
    for (const auto& [name, count] : device.counts) {
      totals.evictions += absl::StartsWith(name, "evicted") ? count : 0;
    }
  }
  return totals;
}

void History::Note(const document::Status& status, absl::Duration steady) {
  const std::optional<absl::Duration> noted = std::exchange(noted_, steady);
  const Totals totals = TotalsOf(status), before = std::exchange(before_, totals);
  if (!noted || steady <= *noted) return;  // no rate can be told
  const double seconds = absl::ToDoubleSeconds(steady - *noted);
  double installed = 0, unconfirmed = 0, p50_ms = 0, p99_ms = 0, wait_p99_ms = 0;
  for (const document::DeviceStatus& device : status.devices) {
    installed += static_cast<double>(device.installed);
    unconfirmed += static_cast<double>(device.installed_unconfirmed);
    p50_ms = std::max(p50_ms, device.install_p50_ms);
    p99_ms = std::max(p99_ms, device.install_p99_ms);
  }
  for (const document::NicStatus& nic : status.nics) {
    wait_p99_ms = std::max(wait_p99_ms, nic.wait_p99_ms);
  }
  const double new_per_s = Rate(before.installs, totals.installs, seconds);
  const double confirmed_per_s = Rate(before.confirmed, totals.confirmed, seconds);
  const double evicted_per_s = Rate(before.evictions, totals.evictions, seconds);
  const double proven_per_s = status.defence.proven_per_s;
  const auto sources = static_cast<double>(status.defence.sources);
  Sample sample{.at = status.written,
#define WICKET_HISTORY_VALUE(name) name,
                .figures = {WICKET_HISTORY_FIGURES(WICKET_HISTORY_VALUE)},
#undef WICKET_HISTORY_VALUE
                .refused_per_s = status.defence.refused_per_s};
  const std::lock_guard lock(mutex_);
  if (samples_.size() == kSamplesMax) samples_.pop_front();
  samples_.push_back(std::make_shared<const Sample>(std::move(sample)));
  ++next_;
}

std::string History::ToJson(uint64_t from) const {
  std::vector<std::shared_ptr<const Sample>> samples;
  uint64_t next = 0;
  {
    const std::lock_guard lock(mutex_);
    next = next_;
    const uint64_t first = next - samples_.size();
    const uint64_t skipped = from > next || from < first ? 0 : from - first;
    samples.assign(samples_.begin() + static_cast<ptrdiff_t>(skipped), samples_.end());
  }
  std::string at, figures, refused;
  for (const auto& sample : samples) {
    absl::StrAppend(&at, at.empty() ? "" : ",", absl::ToUnixMillis(sample->at));
  }
  for (size_t i = 0; i < kFigures; ++i) {
    absl::StrAppend(&figures, i == 0 ? "" : ",", "\"", kNames[i], "\":",
                    ListOf(samples, [&](const Sample& sample) { return sample.figures[i]; }));
  }
  std::set<std::string> reasons;
  for (const auto& sample : samples) {
    for (const auto& [reason, rate] : sample->refused_per_s) reasons.insert(reason);
  }
  for (const std::string& reason : reasons) {
    absl::StrAppend(&refused, refused.empty() ? "" : ",", "\"", reason,
                    "\":", ListOf(samples, [&](const Sample& sample) {
                      const auto it = sample.refused_per_s.find(reason);
                      return it == sample.refused_per_s.end() ? 0 : it->second;
                    }));
  }
  return absl::StrCat("{\"next\":", next, ",\"at\":[", at, "],\"figures\":{", figures,
                      "},\"refused_per_s\":{", refused, "}}");
}

}  // namespace wicket::report
