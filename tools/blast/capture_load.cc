// A load that is written into a capture file and not sent.
#include <memory>

#include "base/clock.h"
#include "tools/blast/capture.h"
#include "tools/blast/load.h"
#include "tools/blast/schedule.h"
#include "tools/blast/source_choice.h"
#include "tools/blast/supply.h"

namespace wicket::blast {
namespace {

constexpr const char* kSource4 = "198.18.0.1/32";         // [RFC 2544], for benchmarks
constexpr const char* kSource6 = "2001:db8:ffff::1/128";  // [RFC 3849], for documentation

// The sources asked for; made up where none are.
Sources SourcesOf(const PortOptions& options) {
  Sources sources = options.sources;
  if (sources.from.empty()) {
    const bool ipv4 = options.target.address.family == Family::kIpv4;
    sources.from = {*ParsePrefix(ipv4 ? kSource4 : kSource6)};
  }
  if (!sources.ports) sources.ports = {kPortMin, 65535};
  return sources;
}

}  // namespace

absl::StatusOr<uint64_t> WriteCapture(const LoadOptions& options, const Fleet* fleet,
                                      const std::string& file, const Ending& ending) {
  WICKET_ASSIGN_OR_RETURN(CaptureWriter capture, CaptureWriter::Create(file));
  LoadOptions one = options;
  one.threads = 1;
  const Schedule schedule(one, /*thread=*/0);
  const Sessions none;
  const auto counts = std::make_unique<Counts>();
  Random random(one.seed, /*thread=*/0);
  Supply supply(one, fleet, /*thread=*/0, &none, &random, counts.get());
  SourceChoice choice(one, fleet->size(), /*thread=*/0, &random);
  const Sources sources = SourcesOf(options.port);
  Link link;
  link.vlan = options.port.vlan;
  const absl::Time begin = WallNow();
  uint64_t number = 0;
  for (; schedule.Has(number) && !ending; ++number) {
    const absl::Duration offset = absl::Seconds(schedule.OffsetOf(number));
    if (offset >= options.pace.duration) break;
    if (supply.empty()) {
      const uint64_t turns = std::min(Supply::kTogether, options.pace.count_max - number);
      supply.Make(turns, SteadyNanos(),
                  [&](uint64_t k) { return begin + absl::Seconds(schedule.OffsetOf(number + k)); });
    }
    if (supply.empty()) break;
    const std::optional<Packet> packet = supply.Take();
    // No session comes about in a capture, so no later turn has a packet of that kind either.
    if (!packet) break;
    uint8_t frame[kHeaderBytesMax + sizeof(wire::Initiation)];
    const size_t bytes = WriteFrame(link, sources.At(choice.Of(*packet)), options.port.target,
                                    packet->payload(), frame);
    capture.Write(begin + offset, {frame, bytes});
  }
  WICKET_RETURN_IF_ERROR(capture.Close());
  return number;
}

}  // namespace wicket::blast
