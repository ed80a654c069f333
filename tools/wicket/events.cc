// wicket events: what happens to peers, as it happens.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/text.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

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

int Events(const ConnectionOptions& where, bool as_json) {
  auto connection = Connection::Open(where);
  if (!connection.ok()) return Fail(connection.status());
  if (!(*connection)->online()) {
    return Fail(absl::UnavailableError("wicketd does not run: nothing happens"));
  }
  if (!where.device.empty()) {
    const auto devices = (*connection)->Devices();
    if (!devices.ok()) return Fail(devices.status());
    if (std::find(devices->begin(), devices->end(), where.device) == devices->end()) {
      return Fail(absl::InvalidArgumentError(
          absl::StrCat("no device \"", where.device, "\" is configured")));
    }
  }
  const auto wanted = [&](const json::value& event) {
    const auto* device = event.is_object() ? event.as_object().if_contains("device") : nullptr;
    return where.device.empty() || device == nullptr || device->as_string() == where.device.c_str();
  };
  std::string line;
  const auto status = (*connection)
                          ->Stream(
                              "GET", "/v1/events", [] { return std::string(); },
                              [&](absl::string_view piece) {
                                for (const char c : piece) {
                                  if (c != '\n') {
                                    line.push_back(c);
                                    continue;
                                  }
                                  absl::string_view data = line;
                                  json::error_code error;
                                  if (absl::ConsumePrefix(&data, "data: ")) {
                                    const auto event = json::parse(
                                        json::string_view(data.data(), data.size()), error);
                                    if (!error && !wanted(event)) {
                                      // another device's
                                    } else if (as_json) {
                                      std::cout << std::string(data) << std::endl;
                                    } else if (!error && event.is_object()) {
                                      PrintEvent(event.get_object());
                                    }
                                  }
                                  line.clear();
                                }
                                return static_cast<bool>(std::cout);
                              });
  if (!status.ok()) return Fail(status.status());
  if (*status < 400) return kOk;
  std::cerr << "wicket: " << line << "\n";
  return kFailure;
}

}  // namespace

void AddEventsCommand(CLI::App* app, std::function<int()>* run) {
  static ConnectionOptions where;
  static bool as_json = false, follow = false;
  CLI::App* command = app->add_subcommand("events", "what happens to peers, as it happens");
  AddConnectionOptions(command, &where);
  command->add_flag("-f,--follow", follow, "as always: until interrupted");
  command->add_flag("--json", as_json, "a JSON object a line");
  command->callback([run] { *run = [] { return Events(where, as_json); }; });
}

}  // namespace wicket::tools
