#include "tools/blast/report.h"

#include <boost/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace wicket::blast {
namespace {

constexpr double kRateTolerance = 0.98;
constexpr double kBusy = 0.95;  // the share of its time that a closed loop's thread may work
constexpr uint64_t kLate_ns = 5'000'000;
constexpr uint64_t kSmallPart = 4;  // lateness may be a quarter of the latency
constexpr double kQuantiles[] = {0.5, 0.9, 0.99, 0.999, 1.0};

double Milliseconds(uint64_t ns) { return static_cast<double>(ns) / 1e6; }

// The rate that the schedule asked for; the mean of a ramp, up to where it got.
// Returns: 0 when there is none.
double WantedRate(const LoadOptions& options, double seconds) {
  if (options.replay && options.at_captured_times) return 0;
  if (!options.pace.ramp_to) return options.pace.rate;
  const double part = std::min(1.0, seconds / absl::ToDoubleSeconds(options.pace.duration));
  return options.pace.rate + (*options.pace.ramp_to - options.pace.rate) * part / 2;
}

void PrintQuantiles(const char* title, const Histogram& histogram, std::ostream& out) {
  if (histogram.Count() == 0) return;
  out << title;
  for (const double q : kQuantiles) {
    out << absl::StrFormat("  %s %.3f", q == 1.0 ? "max" : absl::StrFormat("p%g", q * 100),
                           Milliseconds(histogram.Quantile(q)));
  }
  out << "\n";
}

boost::json::object QuantilesOf(const Histogram& histogram) {
  boost::json::object json;
  for (const double q : kQuantiles) {
    const std::string name = q == 1.0 ? "max" : absl::StrCat("p", q * 100);
    json[name] = Milliseconds(histogram.Quantile(q));
  }
  json["count"] = histogram.Count();
  return json;
}

}  // namespace

void Summarize(const std::vector<const Counts*>& counts, Summary* summary) {
  uint64_t sending_ns = 0;
  for (const Counts* part : counts) {
    for (size_t kind = 0; kind < kKinds; ++kind) {
      summary->sent[kind] += part->sent[kind];
      summary->answered[kind] += part->answered[kind];
      if (!WantsAnswer(static_cast<Kind>(kind))) continue;
      summary->wanted += part->sent[kind];
      summary->answered_total += part->answered[kind];
    }
    summary->sent_total += part->Sent();
    summary->lost += part->lost;
    summary->unverified += part->unverified;
    summary->unexpected += part->unexpected;
    summary->cookies += part->cookies;
    summary->send_errors += part->send_errors;
    summary->no_room += part->no_room;
    summary->exhausted += part->exhausted;
    summary->retried += part->retried;
    summary->replayed += part->replayed;
    summary->responses += part->responses;
    summary->pinged += part->pinged;
    summary->ponged += part->ponged;
    summary->unexpected_cookies += part->unexpected_cookies;
    summary->overrun += part->overrun;
    summary->clients = std::max(summary->clients, part->clients * counts.size());
    sending_ns = std::max(sending_ns, part->sending_ns.load());
    if (part->sending_ns > 0) {
      summary->busy = std::max(summary->busy, 1 - static_cast<double>(part->waited_ns) /
                                                      static_cast<double>(part->sending_ns));
    }
    summary->latency.Add(part->latency);
    summary->usable.Add(part->usable);
    summary->lateness.Add(part->lateness);
  }
  summary->seconds = static_cast<double>(sending_ns) / 1e9;
}

std::string GeneratorWasTheLimit(const Summary& summary, const LoadOptions& options) {
  if (options.pace.in_flight) {
    if (summary.busy < kBusy) return "";
    return absl::StrFormat("its threads were busy for %.0f %% of the time: use more (--threads)",
                           100 * summary.busy);
  }
  // Among few packets the slowest hundredth is one packet that was held up by chance. Where answers
  // take far longer than packets are late, the generator adds little to the latency.
  const double quantile = summary.lateness.Count() < 1000 ? 0.9 : 0.99;
  const uint64_t late_ns = summary.lateness.Quantile(quantile);
  if (late_ns > kLate_ns && kSmallPart * late_ns > summary.latency.Quantile(quantile)) {
    return absl::StrFormat(
        "packets left up to %.1f ms late (p%g): send fewer, prepare them "
        "(--prepare), or use more threads",
        Milliseconds(late_ns), 100 * quantile);
  }
  if (summary.no_room * 100 > summary.sent_total) {
    return absl::StrFormat("%d packets never left: the way out stayed full", summary.no_room);
  }
  if (summary.lost > 0 && summary.overrun * 1000 > summary.wanted) {
    return absl::StrFormat("%d packets came that found no room with it; answers among them?",
                           summary.overrun);
  }
  const double wanted = WantedRate(options, summary.seconds);
  if (summary.sent_total > 100 && summary.Rate() < kRateTolerance * wanted &&
      summary.exhausted == 0) {
    return absl::StrFormat("%.0f packets a second left, not %.0f", summary.Rate(), wanted);
  }
  return "";
}

void PrintTable(const Summary& summary, const LoadOptions& options, std::ostream& out) {
  out << absl::StrFormat("%-10s %12s %12s %9s\n", "", "sent", "answered", "");
  for (size_t kind = 0; kind < kKinds; ++kind) {
    if (summary.sent[kind] == 0) continue;
    const bool wanted = WantsAnswer(static_cast<Kind>(kind));
    const double share =
        100 * static_cast<double>(summary.answered[kind]) / static_cast<double>(summary.sent[kind]);
    out << absl::StrFormat("%-10s %12d %12d %s\n", ToString(static_cast<Kind>(kind)),
                           summary.sent[kind], summary.answered[kind],
                           wanted ? absl::StrFormat("%8.2f %%", share) : "");
  }
  if (summary.replayed > 0) {
    out << absl::StrFormat("%-10s %12d %12d\n", "replayed", summary.replayed, summary.responses);
  }
  out << absl::StrFormat("\n%.0f packets a second for %.1f s", summary.Rate(), summary.seconds);
  if (summary.retried) out << absl::StrFormat(", and %d handshakes again", summary.retried);
  if (summary.lost) out << absl::StrFormat(", %d without an answer", summary.lost);
  if (summary.pinged > summary.ponged) {
    out << absl::StrFormat(", %d pings without an answer", summary.pinged - summary.ponged);
  }
  out << "\n";
  PrintQuantiles("from the intended time to the verified answer, ms:", summary.latency, out);
  PrintQuantiles("to the first data out of the tunnel, ms:          ", summary.usable, out);
  PrintQuantiles("of it, from the intended time to the sending, ms: ", summary.lateness, out);
  const std::pair<uint64_t, const char*> notes[] = {
      {summary.unverified, "answers did not verify: is this the right public key?"},
      {summary.unexpected, "packets came that answer nothing"},
      {summary.overrun, "packets came that found no room with the generator"},
      {summary.cookies, "cookie replies that verify: the target says it is under load"},
      {summary.send_errors, "packets could not be sent: does anybody listen there?"},
      {summary.no_room, "packets never left: the way out stayed full"},
      {summary.exhausted, "times no client was left that had not come before (--clients)"}};
  for (const auto& [count, text] : notes) {
    if (count > 0) out << absl::StrFormat("%d %s\n", count, text);
  }
  if (summary.wanted > 0 && summary.answered_total == 0) {
    out << "nothing was answered: is that the target's address, port and public key (wg show), "
           "does it "
           "know these clients (--export, with the same --seed and --clients), and were these "
           "ports "
           "nobody else's for three minutes (--ports)?\n";
  }
  if (const std::string why = GeneratorWasTheLimit(summary, options); !why.empty()) {
    out << "THE GENERATOR WAS THE LIMIT, not the target: " << why << "\n";
  }
}

std::string ToJson(const Summary& summary, const LoadOptions& options) {
  boost::json::object json, kinds, mix;
  for (size_t kind = 0; kind < kKinds; ++kind) {
    if (const uint32_t weight = options.mix.Weight(static_cast<Kind>(kind))) {
      mix[ToString(static_cast<Kind>(kind))] = weight;
    }
    if (summary.sent[kind] == 0) continue;
    kinds[ToString(static_cast<Kind>(kind))] = {{"sent", summary.sent[kind]},
                                                {"answered", summary.answered[kind]}};
  }
  json["target"] = ToString(options.port.target);
  json["via"] = options.port.via == Via::kXdp ? "xdp" : "udp";
  json["threads"] = options.threads;
  json["seed"] = options.seed;
  if (options.replay == nullptr) json["mix"] = mix;
  if (!options.pace.in_flight && WantedRate(options, summary.seconds) > 0) {
    json["wanted_rate"] = WantedRate(options, summary.seconds);
  }
  json["seconds"] = summary.seconds;
  json["rate"] = summary.Rate();
  json["sent"] = summary.sent_total;
  json["answered"] = summary.answered_total;
  json["lost"] = summary.lost;
  json["loss"] = summary.Loss();
  json["unverified"] = summary.unverified;
  json["unexpected"] = summary.unexpected;
  json["unexpected_cookies"] = summary.unexpected_cookies;
  json["overrun"] = summary.overrun;
  json["cookies"] = summary.cookies;
  json["retried"] = summary.retried;
  json["send_errors"] = summary.send_errors;
  json["no_room"] = summary.no_room;
  json["exhausted"] = summary.exhausted;
  json["kinds"] = kinds;
  json["latency_ms"] = QuantilesOf(summary.latency);
  json["lateness_ms"] = QuantilesOf(summary.lateness);
  if (summary.pinged > 0) {
    json["pings"] = {{"sent", summary.pinged}, {"answered", summary.ponged}};
    json["usable_ms"] = QuantilesOf(summary.usable);
  }
  if (summary.replayed > 0) {
    json["replayed"] = summary.replayed;
    json["responses"] = summary.responses;
  }
  json["generator_limit"] = GeneratorWasTheLimit(summary, options);
  return boost::json::serialize(json);
}

void WriteHdr(const Histogram& histogram, std::ostream& out) {
  out << "       Value     Percentile TotalCount 1/(1-Percentile)\n\n";
  const auto total = static_cast<double>(histogram.Count());
  // Five points for each halving of the rest, as in HdrHistogram.
  for (double left = 1; total > 0 && left * total >= 0.5; left *= 0.870550563) {
    out << absl::StrFormat("%12.3f %14.12f %10.0f %14.2f\n",
                           Milliseconds(histogram.Quantile(1 - left)), 1 - left, (1 - left) * total,
                           1 / left);
  }
  out << absl::StrFormat("%12.3f %14.12f %10.0f\n", Milliseconds(histogram.Quantile(1)), 1.0,
                         total);
  out << absl::StrFormat("#[Total count = %.0f]\n", total);
}

}  // namespace wicket::blast
