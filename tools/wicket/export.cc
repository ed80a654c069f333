// wicket export: the stored peers, as a file.
#include <fcntl.h>
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/fd.h"
#include "document/peer_text.h"
#include "store/store.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"

namespace wicket::tools {
namespace {

constexpr size_t kExportChunk = 1024;

struct ExportOptions {
  ConnectionOptions connection;  // its device: empty, all
  std::string format = "ndjson";
  std::string file = "-";
};

std::string ToText(const store::Peer& peer, const ExportOptions& options) {
  return (options.format == "conf" ? document::ToConfSection(peer) : document::ToJsonLine(peer)) +
         "\n";
}

absl::Status ExportStore(const ExportOptions& options, std::ostream* output) {
  WICKET_ASSIGN_OR_RETURN(store::Store store,
                          store::Store::Open({.path = options.connection.store, .create = false}));
  WICKET_ASSIGN_OR_RETURN(store::Snapshot snapshot, store.NewSnapshot());
  const std::string& device = options.connection.device;
  std::optional<PublicKey> cursor;
  for (size_t visited = kExportChunk; visited == kExportChunk;) {
    // A view per chunk: a long one would keep the writer from reusing pages.
    WICKET_RETURN_IF_ERROR(snapshot.Renew());
    std::string text;
    WICKET_ASSIGN_OR_RETURN(visited,
                            snapshot.Walk(&cursor, kExportChunk, [&](const store::Peer& peer) {
                              if (device.empty() || peer.device == device)
                                text += ToText(peer, options);
                            }));
    snapshot.Release();  // the reader of our output may be slow
    *output << text;
  }
  return absl::OkStatus();
}

absl::Status ExportDevice(const ExportOptions& options, const std::string& device,
                          Connection* connection, std::ostream* output) {
  std::string rest;  // of a line that has not come whole
  absl::Status status;
  const auto piece = [&](absl::string_view bytes) {
    rest.append(bytes.data(), bytes.size());
    size_t begin = 0;
    for (size_t end; (end = rest.find('\n', begin)) != rest.npos; begin = end + 1) {
      const auto peer = document::ParsePeerJson({rest.data() + begin, end - begin});
      if (!peer.ok()) {
        status = peer.status();
        return false;
      }
      *output << ToText(*peer, options);
    }
    rest.erase(0, begin);
    return output->good();
  };
  const std::string target = PathOf(device, "/export");
  WICKET_ASSIGN_OR_RETURN(const unsigned code, connection->Stream("GET", target, {}, piece));
  return code < 400 ? status : ErrorOf({code, rest});
}

absl::Status ExportStream(const ExportOptions& options, std::ostream* output) {
  if (options.connection.offline) return ExportStore(options, output);
  auto connection = Connection::OpenOnline(options.connection);
  if (absl::IsNotFound(connection.status()) && options.connection.remote.empty()) {
    return ExportStore(options, output);
  }
  WICKET_RETURN_IF_ERROR(connection.status());
  std::vector<std::string> devices{options.connection.device};
  if (devices[0].empty()) {
    WICKET_ASSIGN_OR_RETURN(devices, (*connection)->Devices());
  }
  for (const std::string& device : devices) {
    WICKET_RETURN_IF_ERROR(ExportDevice(options, device, connection->get(), output));
  }
  return absl::OkStatus();
}

int Export(const ExportOptions& options) {
  std::ofstream file;
  if (options.file != "-") {
    const Fd made(open(options.file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    file.open(options.file);
    // Preshared keys go into it, also when the file was there before.
    if (!made.valid() || fchmod(made.get(), 0600) != 0 || !file) {
      std::cerr << "wicket: " << options.file << ": cannot be written\n";
      return kFailure;
    }
  }
  std::ostream& output = options.file == "-" ? std::cout : file;
  absl::Status status = ExportStream(options, &output);
  output.flush();
  if (status.ok() && !output) status = absl::DataLossError("writing failed");
  if (status.ok()) return kOk;
  std::cerr << "wicket: export: " << status.message() << "\n";
  return kFailure;
}

}  // namespace

void AddExportCommand(CLI::App* app, std::function<int()>* run) {
  static ExportOptions options;
  CLI::App* command =
      app->add_subcommand("export", "write the stored peers, preshared keys included");
  AddConnectionOptions(command, &options.connection);
  AddOfflineOption(command, &options.connection);
  command->add_option("--format", options.format, "format to write")
      ->check(CLI::IsMember({"ndjson", "conf"}))
      ->capture_default_str();
  command->add_option("-o,--output", options.file, "file to write, mode 0600")
      ->type_name("FILE")
      ->capture_default_str();
  command->callback([run] { *run = [] { return Export(options); }; });
}

}  // namespace wicket::tools
