// wicket plan: the memory, disk and cores that a load needs, and the first limit that it reaches.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <cmath>
#include <iostream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/plan_model.h"
#include "tools/wicket/text.h"

namespace wicket::tools {
namespace {

constexpr double kMost = 1e12;

struct PlanOptions {
  Load load;
  Costs costs;
  double cores = 0;
  bool json = false;
};

std::string Bytes(double bytes) {
  if (bytes >= 1e9) return absl::StrFormat("%.2f GB", bytes / 1e9);
  return absl::StrFormat("%.0f MB", std::ceil(bytes / 1e6));
}

std::string FigureOf(const Need& need) {
  if (need.unit == "bytes") return Bytes(need.value);
  if (need.unit == "bytes/s") return absl::StrCat(Bytes(need.value), "/s");
  return absl::StrFormat("%.2f", need.value);
}

void PrintPlanJson(const Plan& plan) {
  boost::json::array needs, limits;
  for (const Need& need : plan.needs) {
    needs.push_back(
        {{"what", need.what}, {"value", need.value}, {"unit", need.unit}, {"why", need.why}});
  }
  for (const Limit& limit : plan.limits) {
    limits.push_back({{"name", limit.name},
                      {"used", limit.used},
                      {"most", limit.most},
                      {"beyond", limit.beyond},
                      {"change", limit.change}});
  }
  std::cout << boost::json::serialize(
                   boost::json::object{{"needs", std::move(needs)}, {"limits", std::move(limits)}})
            << "\n";
}

void PrintPlan(const Plan& plan) {
  for (const Need& need : plan.needs) {
    std::cout << absl::StrFormat("%-16s %16s   %s\n", need.what, FigureOf(need), need.why);
  }
  std::cout << "\n"
            << Bold(absl::StrFormat("%-22s %12s %12s %8s", "limit", "used", "of", "share")) << "\n";
  for (const Limit& limit : plan.limits) {
    std::cout << absl::StrFormat("%-22s %12.0f %12.0f %6.0f %%\n", limit.name, limit.used,
                                 limit.most, 100 * limit.share());
  }
  const Limit& first = plan.limits.front();
  std::cout << "\n"
            << (first.share() > 1 ? "Too much: " : "First limit reached: ") << first.name
            << absl::StrFormat(", at %.1f times this load; then ", 1 / first.share())
            << first.beyond << ".\n";
  for (const Limit& limit : plan.limits) {
    if (limit.share() > 0.75 && !limit.change.empty()) {
      std::cout << "  " << limit.name << ": " << limit.change << "\n";
    }
  }
}

int MakeAndPrint(const PlanOptions& options) {
  if (options.load.active > options.load.stored) {
    std::cerr << "wicket: --active: found " << options.load.active
              << "; accepted: at most --peers, " << options.load.stored << "\n";
    return kUsage;
  }
  const double cores =
      options.cores > 0 ? options.cores : static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN));
  const Plan plan = MakePlan(options.load, options.costs, cores);
  options.json ? PrintPlanJson(plan) : PrintPlan(plan);
  return kOk;
}

}  // namespace

void AddPlanCommand(CLI::App* app, std::function<int()>* run) {
  static PlanOptions options;
  CLI::App* command = app->add_subcommand(
      "plan", "memory, disk and cores for a load, and the first limit that it reaches");
  const auto number = [&](const char* name, double* value, const char* help, double least = 0) {
    return command->add_option(name, *value, help)
        ->type_name("N")
        ->check([least](const std::string& text) {
          double found = 0;
          return absl::SimpleAtod(text, &found) && found >= least && found <= kMost
                     ? std::string()
                     : absl::StrFormat("found %s; accepted: a number from %g to %g", text, least,
                                       kMost);
        })
        ->capture_default_str();
  };
  Load& load = options.load;
  number("--peers", &load.stored, "stored peers", 1)->required();
  number("--active", &load.active, "peers in session at once", 1)->required();
  number("--newcomers", &load.newcomers_per_s, "a second: peers that are not installed")
      ->required();
  number("--return-within", &load.return_within_s,
         "seconds in which all that are active come again after a restart of the machine");
  number("--strangers", &load.strangers_per_s, "a second: initiations of unknown keys");
  number("--flood", &load.flood_per_s, "a second: initiations with a wrong mac1");
  number("--creates", &load.creates_per_s, "a second, by the control interface");
  number("--cores", &options.cores, "of the gateway; 0: as this machine");
  number("--proofs-per-core", &options.costs.proofs_per_s,
         "proofs a second, as scripts/bench measures proofs_sustained there", 1);
  number("--kernel-handshakes-per-core", &options.costs.kernel_handshakes_per_s,
         "handshakes a second of the kernel's WireGuard", 1);
  command->add_flag("--json", options.json, "print JSON");
  command->footer(
      "The figures are costs, most of them measured; docs/scaling.md tells which, and how far to "
      "trust them.");
  command->callback([run] { *run = [] { return MakeAndPrint(options); }; });
}

}  // namespace wicket::tools
