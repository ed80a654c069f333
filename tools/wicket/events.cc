// wicket events: what happens to peers, as it happens.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/text.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

constexpr size_t kErrorBytesMax = 4096;

void PrintEvent(const json::object& event) {
  const auto text = [&](const char* name) {
    const auto* value = event.if_contains(name);
    return value && value->is_string() ? std::string(value->as_string()) : std::string();
  };
  if (const auto* missed = event.if_contains("missed")) {
    std::cout << "(" << *missed << " events were missed)" << std::endl;
    return;
  }
  std::cout << text("at") << "  " << Bold(absl::StrFormat("%-9s", text("event")));
  if (const auto* figures = event.if_contains("figures"); figures && figures->is_object()) {
    for (const auto& [name, value] : figures->get_object()) {
      std::cout << "  " << std::string(name) << " "
                << absl::StrFormat("%.6g", value.to_number<double>());
    }
  } else {
    std::cout << "  " << absl::StrFormat("%-8s", text("device")) << "  "
              << (text("public_key").empty() ? "(not proven)" : text("public_key")) << "  "
              << text("source");
  }
  if (!text("reason").empty()) std::cout << "  " << text("reason");
  std::cout << std::endl;
}

void PrintStreamLine(absl::string_view line, bool as_json) {
  if (!absl::ConsumePrefix(&line, "data: ")) return;
  json::error_code error;
  const json::value event = json::parse(json::string_view(line.data(), line.size()), error);
  if (as_json) {
    std::cout << std::string(line) << std::endl;
  } else if (!error && event.is_object()) {
    PrintEvent(event.get_object());
  }
}

struct Filter {
  std::vector<std::string> kinds;
  std::string peer, source, reason;

  std::string Query(const std::string& device) const {
    std::string query;
    const std::pair<const char*, std::string> parameters[] = {{"kind", absl::StrJoin(kinds, ",")},
                                                              {"device", device},
                                                              {"peer", peer},
                                                              {"source", source},
                                                              {"reason", reason}};
    for (const auto& [name, value] : parameters) {
      if (value.empty()) continue;
      absl::StrAppend(&query, query.empty() ? "?" : "&", name, "=", Escape(value));
    }
    return query;
  }
};

absl::Status CheckDevice(Connection& connection, const std::string& device) {
  if (device.empty()) return absl::OkStatus();
  WICKET_ASSIGN_OR_RETURN(const std::vector<std::string> devices, connection.Devices());
  if (std::find(devices.begin(), devices.end(), device) != devices.end()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("no device \"", device, "\" is configured"));
}

int Events(const ConnectionOptions& where, const Filter& filter, bool as_json) {
  auto connection = Connection::Open(where);
  if (!connection.ok()) return Fail(connection.status());
  if (!(*connection)->online()) {
    return Fail(absl::UnavailableError("wicketd does not run: nothing happens"));
  }
  const absl::Status known = CheckDevice(**connection, where.device);
  if (!known.ok()) return Fail(known);
  std::string line, answer;
  const auto print_lines = [&](absl::string_view piece) {
    if (answer.size() < kErrorBytesMax) absl::StrAppend(&answer, piece);
    for (const char c : piece) {
      if (c != '\n') {
        line.push_back(c);
        continue;
      }
      PrintStreamLine(line, as_json);
      line.clear();
    }
    return static_cast<bool>(std::cout);
  };
  const auto status =
      (*connection)
          ->Stream("GET", absl::StrCat("/v1/events", filter.Query(where.device)), {}, print_lines);
  if (!status.ok()) return Fail(status.status());
  if (*status < 400) return kOk;
  return Fail(ErrorOf({.status = *status, .text = answer}));
}

}  // namespace

void AddEventsCommand(CLI::App* app, std::function<int()>* run) {
  static ConnectionOptions where;
  static Filter filter;
  static bool as_json = false, follow = false;
  CLI::App* command = app->add_subcommand("events", "what happens to peers, as it happens");
  AddConnectionOptions(command, &where);
  command->add_flag("-f,--follow", follow, "as always: until interrupted");
  command->add_option("--kind", filter.kinds, "only these kinds: installed, refused, attack, ...")
      ->delimiter(',')
      ->type_name("KIND,...");
  command->add_option("--peer", filter.peer, "only of this peer")->type_name("KEY");
  command->add_option("--source", filter.source, "only from this address or prefix")
      ->type_name("PREFIX");
  command->add_option("--reason", filter.reason, "only for this reason, such as replay");
  command->add_flag("--json", as_json, "a JSON object a line");
  command->callback([run] { *run = [] { return Events(where, filter, as_json); }; });
}

}  // namespace wicket::tools
