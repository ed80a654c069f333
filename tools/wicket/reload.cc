// wicket reload: has wicketd read its configuration again, and says what came of it.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>

#include "absl/strings/match.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

int Reload(const ConnectionOptions& where) {
  const auto connection = Connection::OpenOnline(where);
  if (!connection.ok() && !where.remote.empty()) return Fail(connection.status());
  if (!connection.ok()) return Fail(Annotate(connection.status(), "wicketd does not run"));
  const auto answer = (*connection)->Call("POST", "/v1/reload");
  if (!answer.ok()) return Fail(answer.status());
  if (const absl::Status error = ErrorOf(*answer); !error.ok()) {
    const int status = Fail(error);
    // Of a file with errors nothing is taken; the other kind of refusal says what is.
    if (absl::StrContains(answer->text, "\"invalid_configuration\"")) {
      std::cerr << "wicket: wicketd goes on with what it had\n";
    }
    return status;
  }
  const json::value outcome = json::parse(json::string_view(answer->text));
  const json::array& restart = outcome.as_object().at("needs_restart").as_array();
  std::cout << "reloaded";
  if (!restart.empty()) std::cout << "; to take these changes, restart wicketd:";
  for (const json::value& what : restart) std::cout << " " << json::value_to<std::string>(what);
  std::cout << "\n";
  return kOk;
}

}  // namespace

void AddReloadCommand(CLI::App* app, std::function<int()>* run) {
  static ConnectionOptions where;
  CLI::App* command = app->add_subcommand(
      "reload", "have wicketd read its configuration again; waits, and prints every problem");
  command->add_option("--socket", where.socket, "wicketd's control socket")
      ->type_name("PATH")
      ->capture_default_str();
  AddRemoteOption(command, &where.remote);
  command->callback([run] { *run = [] { return Reload(where); }; });
}

}  // namespace wicket::tools
