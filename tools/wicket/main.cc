// wicket, the command line.
#include <CLI/CLI.hpp>
#include <functional>
#include <iostream>

#include "absl/strings/str_join.h"
#include "tools/wicket/commands.h"

namespace wicket::tools {
namespace {

int Main(int argc, char** argv) {
  CLI::App app("Wicket's command line.", "wicket");
  app.require_subcommand(1);
  app.set_version_flag("--version", "wicket " WICKET_VERSION);
  app.footer("Exit status: 0 done, 1 failed, 2 wrong usage or unusable input.");
  std::function<int()> run;

  ImportOptions import_options;
  CLI::App* import_command = app.add_subcommand(
      "import", "store the peers of a file, through wicketd or, when none runs, all or none");
  import_command->add_option("file", import_options.file,
                             "NDJSON or wg.conf; - reads standard input");
  import_command
      ->add_option("--from-device", import_options.from_device,
                   "the peers of a running WireGuard device, with their preshared keys")
      ->type_name("NAME");
  AddConnectionOptions(import_command, &import_options.connection);
  AddOfflineOption(import_command, &import_options.connection);
  import_command->add_option("--format", import_options.format, "format of the file")
      ->check(CLI::IsMember({"auto", "ndjson", "conf"}))
      ->capture_default_str();
  import_command->add_flag("--json", import_options.json, "print the result as JSON");
  import_command->callback([&] { run = [&] { return Import(import_options); }; });

  ExportOptions export_options;
  CLI::App* export_command =
      app.add_subcommand("export", "write the stored peers, preshared keys included");
  AddConnectionOptions(export_command, &export_options.connection);
  AddOfflineOption(export_command, &export_options.connection);
  export_command->add_option("--format", export_options.format, "format to write")
      ->check(CLI::IsMember({"ndjson", "conf"}))
      ->capture_default_str();
  export_command->add_option("-o,--output", export_options.file, "file to write, mode 0600")
      ->type_name("FILE")
      ->capture_default_str();
  export_command->callback([&] { run = [&] { return Export(export_options); }; });

  StatusOptions status_options;
  CLI::App* status_command = app.add_subcommand("status", "what the gateway does and has done");
  status_command->add_option("--status-file", status_options.status_file, "as configured")
      ->type_name("FILE")
      ->capture_default_str();
  status_command
      ->add_option("--pin-dir", status_options.pin_dir,
                   "where the XDP program's counters are, for when no daemon runs")
      ->type_name("DIR")
      ->capture_default_str();
  status_command->add_flag("--json", status_options.json, "print JSON");
  status_command
      ->add_option("--wait", status_options.wait_s,
                   "wait until wicketd runs and has its devices and NICs, so many seconds at most")
      ->type_name("SECONDS")
      ->expected(0, 1)
      ->default_str("30")
      ->check(CLI::Range(0, 86400));
  status_command->callback([&] { run = [&] { return Status(status_options); }; });

  ExplainOptions explain_options;
  CLI::App* explain_command = app.add_subcommand(
      "explain", "what the gateway would make of captured packets, step by step");
  auto* input = explain_command->add_option_group("input");
  input->add_option("--hex", explain_options.hex, "one message: the UDP payload, or a whole frame")
      ->type_name("HEX");
  input->add_option("--pcap", explain_options.pcap, "a capture (pcap or pcapng)")
      ->type_name("FILE");
  input->require_option(1);
  explain_command
      ->add_option("--private-key-file", explain_options.private_key_file,
                   "the device's private key, as `wg genkey` prints it")
      ->type_name("FILE")
      ->required();
  explain_command
      ->add_option("--store", explain_options.store,
                   "also say whether the peer is stored and the timestamp new")
      ->type_name("DIR");
  explain_command->add_option("--device", explain_options.device, "the device the packets are for")
      ->type_name("NAME");
  explain_command->add_flag("--json", explain_options.json, "print JSON");
  explain_command->callback([&] { run = [&] { return Explain(explain_options); }; });

  AddPeerCommands(&app, &run);
  AddConfCommand(&app, &run);
  AddEventsCommand(&app, &run);
  AddDbCommands(&app, &run);
  AddConfigCommand(&app, &run);
  AddReloadCommand(&app, &run);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ExtrasError&) {  // it would list them backwards
    std::cerr << "wicket: not expected: " << absl::StrJoin(app.remaining(true), " ")
              << "\nRun with --help for more information.\n";
    return kUsage;
  } catch (const CLI::ParseError& error) {
    if (error.get_name() == "RequiredError" && app.get_subcommands().empty() &&
        app.remaining_size() > 0) {
      std::cerr << "wicket: no command \"" << app.remaining().front() << "\"; accepted: "
                << absl::StrJoin(app.get_subcommands([](const CLI::App*) { return true; }), ", ",
                                 [](std::string* out, const CLI::App* command) {
                                   *out += command->get_name();
                                 })
                << "\n";
      return kUsage;
    }
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  try {
    return run();
  } catch (const std::exception& error) {
    // The only ones that come here are about JSON of a shape nobody promised.
    std::cerr << "wicket: an answer that is not as documented: " << error.what() << "\n";
    return kFailure;
  }
}

}  // namespace
}  // namespace wicket::tools

int main(int argc, char** argv) { return wicket::tools::Main(argc, argv); }
