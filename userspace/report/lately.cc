#include "report/lately.h"

#include "absl/strings/str_cat.h"

namespace wicket::report {
namespace {

constexpr absl::Duration kInterval = absl::Minutes(1);

}  // namespace

void Lately::Fill(document::Status* status, absl::Duration steady) {
  status->clock_steps_lately = Growth("clock steps", status->clock_steps, steady);
  for (document::NicStatus& nic : status->nics) {
    nic.lost_lately =
        Growth(absl::StrCat("nic ", nic.name), nic.ring_full + nic.ring_dropped, steady);
  }
  for (document::DeviceStatus& device : status->devices) {
    device.install_errors_lately =
        Growth(absl::StrCat("device ", device.name),
               document::CountOf(device.counts, "install_errors"), steady);
  }
}

uint64_t Lately::Growth(const std::string& name, uint64_t count, absl::Duration steady) {
  std::deque<Sample>& samples = samples_[name];
  // Counts begin at zero; those of a NIC do so again when it comes back.
  if (samples.empty() || count < samples.back().second) samples = {{steady, 0}};
  if (steady - samples.back().first >= kInterval) samples.emplace_back(steady, count);
  while (samples.size() > 1 && steady - samples[1].first >= kSpan) samples.pop_front();
  return count - samples.front().second;
}

}  // namespace wicket::report
