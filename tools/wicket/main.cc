// wicket, the command line.
#include <signal.h>

#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>
#include <optional>
#include <string>

#include "absl/strings/str_join.h"
#include "tools/wicket/commands.h"

namespace wicket::tools {
namespace {

// CLI11 takes an unknown command for a missing one.
bool NamesAnUnknownCommand(const CLI::App& app, const CLI::ParseError& error) {
  return error.get_name() == "RequiredError" && app.get_subcommands().empty() &&
         app.remaining_size() > 0;
}

std::string CommandNames(const CLI::App& app) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  return absl::StrJoin(commands, ", ", [](std::string* out, const CLI::App* command) {
    *out += command->get_name();
  });
}

// Returns: the exit status, or nothing when a command is to run.
std::optional<int> Parse(CLI::App* app, int argc, char** argv) {
  try {
    app->parse(argc, argv);
  } catch (const CLI::ExtrasError&) {  // it would list them backwards
    std::cerr << "wicket: not expected: " << absl::StrJoin(app->remaining(true), " ")
              << "\nRun with --help for more information.\n";
    return kUsage;
  } catch (const CLI::ParseError& error) {
    if (!NamesAnUnknownCommand(*app, error)) return app->exit(error) == 0 ? kOk : kUsage;
    std::cerr << "wicket: no command \"" << app->remaining().front()
              << "\"; accepted: " << CommandNames(*app) << "\n";
    return kUsage;
  }
  return std::nullopt;
}

int Main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);  // a gateway that closes early is an error with a name
  CLI::App app("Wicket's command line.", "wicket");
  app.require_subcommand(1);
  app.set_version_flag("--version", "wicket " WICKET_VERSION);
  app.footer("Exit status: 0 done, 1 failed, 2 wrong usage or unusable input.");
  std::function<int()> run;
  for (const auto add :
       {AddImportCommand, AddExportCommand, AddStatusCommand, AddDoctorCommand, AddExplainCommand,
        AddPeerCommands, AddConfCommand, AddEventsCommand, AddDbCommands, AddConfigCommand,
        AddReloadCommand, AddTopCommand, AddPlanCommand, AddWebCommand, AddBugreportCommand}) {
    add(&app, &run);
  }
  if (const std::optional<int> exit_status = Parse(&app, argc, argv)) return *exit_status;
  try {
    return run();
  } catch (const std::exception& error) {
    // Only JSON of another shape than documented throws.
    std::cerr << "wicket: an answer that is not as documented: " << error.what() << "\n";
    return kFailure;
  }
}

}  // namespace
}  // namespace wicket::tools

int main(int argc, char** argv) { return wicket::tools::Main(argc, argv); }
