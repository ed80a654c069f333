#include "tools/wicket/top_model.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "report/defence.h"

namespace wicket::tools {
namespace {

using Counts = std::map<std::string, uint64_t>;

uint64_t SumOf(const document::Status& status, const std::string& name) {
  uint64_t sum = 0;
  for (const document::DeviceStatus& device : status.devices)
    sum += document::CountOf(device.counts, name);
  return sum;
}

// A counter that went down belongs to a new process.
double Rate(uint64_t before, uint64_t after, double seconds) {
  return after < before || seconds <= 0 ? 0 : static_cast<double>(after - before) / seconds;
}

std::map<std::string, double> Rates(const Counts& before, const Counts& after, double seconds) {
  std::map<std::string, double> rates;
  for (const auto& [name, count] : after) {
    const double rate = Rate(document::CountOf(before, name), count, seconds);
    if (rate > 0) rates[name] = rate;
  }
  return rates;
}

}  // namespace

void History::Add(double value) {
  if (values_.size() == kKept) values_.erase(values_.begin());
  values_.push_back(value);
}

double History::max() const {
  return values_.empty() ? 0 : *std::max_element(values_.begin(), values_.end());
}

std::string History::Bars(size_t width) const {
  static constexpr const char* kBars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const size_t shown = std::min(width, values_.size());
  const auto begin = values_.end() - static_cast<ptrdiff_t>(shown);
  const double most = shown == 0 ? 0 : *std::max_element(begin, values_.end());
  std::string bars(width - shown, ' ');
  for (auto it = begin; it != values_.end(); ++it) {
    const double share = most > 0 ? *it / most : 0;
    bars += kBars[*it > 0 ? std::max(1, static_cast<int>(std::lround(8 * share))) : 0];
  }
  return bars;
}

void TopModel::Take(document::Status status) {
  const double seconds = absl::ToDoubleSeconds(status.written - status_.written);
  if (taken_ && seconds <= 0) return;
  if (taken_ && status.pid == status_.pid) {
    installs_.Add(Rate(SumOf(status_, "installs"), SumOf(status, "installs"), seconds));
    confirmed_.Add(Rate(SumOf(status_, "confirmed"), SumOf(status, "confirmed"), seconds));
    verdict_rates_ = Rates(status_.verdicts, status.verdicts, seconds);
    steering_rates_ = Rates(status_.steering, status.steering, seconds);
    double refused = 0, dropped = 0;
    for (const auto& [name, rate] : verdict_rates_) refused += name == "proven" ? 0 : rate;
    for (const std::string& name : report::TurnedAway()) {
      const double rate = Rate(SumOf(status_, name), SumOf(status, name), seconds);
      if (rate > 0) verdict_rates_[name] = rate;
      refused += rate;
    }
    for (const auto& [name, rate] : steering_rates_) {
      dropped += absl::StartsWith(name, "drop_") ? rate : 0;
    }
    refused_.Add(refused);
    dropped_.Add(dropped);
  }
  double p99_ms = 0;
  for (const document::DeviceStatus& device : status.devices) {
    p99_ms = std::max(p99_ms, device.install_p99_ms);
  }
  p99_ms_.Add(p99_ms);
  status_ = std::move(status);
  taken_ = true;
}

uint64_t TopModel::installed() const {
  uint64_t installed = 0;
  for (const document::DeviceStatus& device : status_.devices) installed += device.installed;
  return installed;
}

std::string TopModel::Line() const {
  return absl::StrFormat(
      "%s stored %d installed %d new/s %.0f confirmed/s %.0f p99_ms %.2f refused/s %.0f "
      "dropped/s %.0f%s",
      absl::FormatTime("%H:%M:%S", status_.written, absl::LocalTimeZone()), status_.stored_peers,
      installed(), installs_.last(), confirmed_.last(), p99_ms_.last(), refused_.last(),
      dropped_.last(), status_.defence.attack ? " UNDER ATTACK" : "");
}

}  // namespace wicket::tools
