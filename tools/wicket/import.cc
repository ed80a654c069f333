// wicket import: the peers of a file or of a device.
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "document/peer_reader.h"
#include "document/peer_text.h"
#include "store/store.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"

namespace wicket::tools {
namespace {

constexpr size_t kChunk = 1 << 18;  // peers sorted and written together: about 100 MB
constexpr size_t kProblemsShown = 20;
constexpr size_t kLinesPerRequest = 4096;  // of a running daemon

struct ImportOptions {
  ConnectionOptions connection;  // its device: of peers that do not name one
  std::string format = "auto";
  std::string file;         // "-": standard input
  std::string from_device;  // in place of a file
  bool json = false;
};

// A line on a terminal that shows the progress; nothing elsewhere.
class Progress {
 public:
  explicit Progress(uint64_t bytes_total)
      : bytes_total_(bytes_total), on_(isatty(STDERR_FILENO)), started_(SteadyNow()) {}
  ~Progress() {
    if (on_) fprintf(stderr, "\r\033[K");
  }

  void Show(uint64_t peers, uint64_t bytes) {
    const absl::Duration now = SteadyNow();
    if (!on_ || now < next_) return;
    next_ = now + absl::Milliseconds(100);
    const double seconds = std::max(absl::ToDoubleSeconds(now - started_), 0.001);
    std::string bar;
    if (bytes_total_ > 0) {
      const double done =
          std::min(1.0, static_cast<double>(bytes) / static_cast<double>(bytes_total_));
      const auto filled = static_cast<size_t>(done * 30);
      bar = absl::StrFormat("[%s%s] %3.0f %%  ", std::string(filled, '#'),
                            std::string(30 - filled, '.'), done * 100);
    }
    absl::FPrintF(stderr, "\r\033[K%s%d peers, %.0f/s", bar, peers,
                  static_cast<double>(peers) / seconds);
  }

 private:
  uint64_t bytes_total_;
  bool on_;
  absl::Duration started_;
  absl::Duration next_ = -absl::InfiniteDuration();
};

struct Numbered {
  uint64_t line;
  store::Peer peer;
};

// Of all that is refused, the first ones in words.
class Problems {
 public:
  void Add(absl::string_view problem) {
    if (++count_ <= kProblemsShown) {
      absl::StrAppend(&text_, text_.empty() ? "" : "\n", problem);
    }
  }
  uint64_t count() const { return count_; }
  std::string text() const {
    if (count_ <= kProblemsShown) return text_;
    return absl::StrCat(text_, "\n… and ", count_ - kProblemsShown, " more");
  }

 private:
  std::string text_;
  uint64_t count_ = 0;
};

// Where the peers go.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual absl::Status Add(uint64_t line, store::Peer peer) = 0;
  virtual absl::Status Finish() = 0;
  // A line that cannot be read.
  void Refuse(const std::string& problem) { problems.Add(problem); }

  uint64_t imported = 0;
  Problems problems;
};

// The store itself: all peers in one transaction, or none.
class StoreSink : public Sink {
 public:
  static absl::StatusOr<std::unique_ptr<Sink>> Open(const std::string& path) {
    WICKET_ASSIGN_OR_RETURN(store::Store store, store::Store::Open({.path = path}));
    WICKET_ASSIGN_OR_RETURN(store::Writer writer, store.Write());
    return std::unique_ptr<Sink>(new StoreSink(std::move(store), std::move(writer)));
  }

  absl::Status Add(uint64_t line, store::Peer peer) override {
    // Nothing will be written; the rest is read for its problems.
    if (problems.count() > 0) return absl::OkStatus();
    chunk_.push_back({line, std::move(peer)});
    return chunk_.size() < kChunk ? absl::OkStatus() : WriteChunk();
  }
  absl::Status Finish() override {
    if (problems.count() > 0) return absl::InvalidArgumentError(problems.text());
    WICKET_RETURN_IF_ERROR(WriteChunk());
    WICKET_RETURN_IF_ERROR(writer_.Commit());
    imported = written_;
    return absl::OkStatus();
  }

 private:
  StoreSink(store::Store store, store::Writer writer)
      : store_(std::move(store)), writer_(std::move(writer)) {}

  absl::Status WriteChunk() {
    // In key order neighbouring records share pages: faster, and a smaller file.
    std::stable_sort(chunk_.begin(), chunk_.end(), [](const Numbered& a, const Numbered& b) {
      return a.peer.config.public_key < b.peer.config.public_key;
    });
    for (const Numbered& item : chunk_) {
      const absl::Status put = writer_.PutPeer(item.peer);
      if (absl::IsAlreadyExists(put) || absl::IsInvalidArgument(put)) {
        return Annotate(put, absl::StrCat("line ", item.line));
      }
      WICKET_RETURN_IF_ERROR(put);
    }
    written_ += chunk_.size();
    chunk_.clear();
    return absl::OkStatus();
  }

  store::Store store_;
  store::Writer writer_;
  std::vector<Numbered> chunk_;
  uint64_t written_ = 0;
};

// A running daemon: it shares its transactions with other calls, so that no call waits for a long
// import. Refused lines are reported, the others are stored.
class DaemonSink : public Sink {
 public:
  explicit DaemonSink(std::unique_ptr<Connection> connection)
      : connection_(std::move(connection)) {}

  absl::Status Add(uint64_t line, store::Peer peer) override {
    Request& request = requests_[peer.device];
    absl::StrAppend(&request.body, document::ToJsonLine(peer), "\n");
    request.lines.push_back(line);
    return request.lines.size() < kLinesPerRequest ? absl::OkStatus() : Send(peer.device, &request);
  }
  absl::Status Finish() override {
    for (auto& [device, request] : requests_) {
      if (!request.lines.empty()) WICKET_RETURN_IF_ERROR(Send(device, &request));
    }
    if (problems.count() == 0) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat(problems.count(), " lines were refused\n", problems.text()));
  }

 private:
  struct Request {
    std::string body;
    std::vector<uint64_t> lines;  // of the file
  };

  absl::Status Send(const std::string& device, Request* request) {
    const auto answer = connection_->Call("POST", PathOf(device, "/import"), request->body);
    explicit_bzero(request->body.data(), request->body.size());
    const std::vector<uint64_t> lines = std::exchange(request->lines, {});
    request->body.clear();
    WICKET_RETURN_IF_ERROR(answer.status());
    const absl::Status error = ErrorOf(*answer);
    if (absl::IsNotFound(error)) {  // a device that the daemon does not serve
      for (const uint64_t line : lines) {
        problems.Add(absl::StrCat("line ", line, ": ", error.message()));
      }
      return absl::OkStatus();
    }
    WICKET_RETURN_IF_ERROR(error);
    for (const absl::string_view line : absl::StrSplit(answer->text, '\n', absl::SkipEmpty())) {
      const auto value = boost::json::parse(std::string(line));
      const boost::json::object& report = value.as_object();  // Main() reports other shapes
      if (const auto* count = report.if_contains("imported")) {
        imported += count->to_number<uint64_t>();
        continue;
      }
      problems.Add(absl::StrCat("line ", lines.at(report.at("line").to_number<uint64_t>() - 1),
                                ": ", std::string(report.at("error").at("message").as_string())));
    }
    return absl::OkStatus();
  }

  std::unique_ptr<Connection> connection_;
  std::map<std::string, Request> requests_;
};

// Errors: nothing, or not everything, was imported; `sink` has the number.
absl::Status ImportStream(std::istream* input, const ImportOptions& options, uint64_t bytes_total,
                          const std::function<bool()>& complete, Sink* sink) {
  document::Format format = document::Format::kAuto;
  if (options.format == "ndjson") format = document::Format::kNdjson;
  if (options.format == "conf") format = document::Format::kWgConf;
  document::PeerReader reader(input, format, options.connection.device);
  Progress progress(bytes_total);
  const absl::Time now = absl::FromUnixSeconds(absl::ToUnixSeconds(WallNow()));
  for (uint64_t peers = 0;;) {
    store::Peer peer;
    const absl::StatusOr<bool> more = reader.Next(&peer);
    if (!more.ok()) {
      sink->Refuse(std::string(more.status().message()));
      if (reader.format() == document::Format::kWgConf) break;  // the reader is out of step
      continue;
    }
    if (!*more) break;
    if (peer.created == absl::UnixEpoch()) peer.created = now;
    WICKET_RETURN_IF_ERROR(sink->Add(reader.peer_line(), std::move(peer)));
    progress.Show(++peers, reader.bytes());
  }
  if (!complete()) return absl::UnavailableError("wg showconf failed");
  if (input->bad() || ferror(stdin)) return absl::DataLossError("reading the file failed half-way");
  return sink->Finish();
}

// A daemon's only device is meant by peers that name none.
absl::StatusOr<std::unique_ptr<Sink>> OpenSink(ImportOptions* options, std::string* where,
                                               bool* online) {
  if (!options->connection.offline) {
    auto connection = Connection::OpenOnline(options->connection);
    if (connection.ok()) {
      *where = (*connection)->where();
      *online = true;
      WICKET_ASSIGN_OR_RETURN(const std::vector<std::string> devices, (*connection)->Devices());
      std::string& device = options->connection.device;
      if (!device.empty() && std::find(devices.begin(), devices.end(), device) == devices.end()) {
        return absl::InvalidArgumentError(absl::StrCat("no device \"", device, "\" is configured"));
      }
      if (device.empty() && devices.size() == 1) device = devices[0];
      return std::make_unique<DaemonSink>(std::move(*connection));
    }
    // Of a gateway elsewhere the peers are not to land in the store of this machine.
    if (!absl::IsNotFound(connection.status()) || !options->connection.remote.empty()) {
      return connection.status();
    }
  }
  *where = options->connection.store;
  return StoreSink::Open(options->connection.store);
}

// `complete` is asked at the end of the input; false fails the import.
int ImportFile(ImportOptions options, const std::function<bool()>& complete) {
  std::ifstream file;
  uint64_t bytes_total = 0;
  const bool from_stdin = options.file == "-";
  if (!from_stdin) {
    file.open(options.file);
    struct stat info;
    if (!file || stat(options.file.c_str(), &info) != 0 || S_ISDIR(info.st_mode)) {
      std::cerr << "wicket: " << options.file << ": cannot be read as a file\n";
      return kUsage;
    }
    bytes_total = static_cast<uint64_t>(info.st_size);
  }
  const absl::Duration started = SteadyNow();
  std::string where;
  bool online = false;
  const auto sink = OpenSink(&options, &where, &online);
  if (!sink.ok()) return Fail(sink.status());
  const absl::Status status =
      ImportStream(from_stdin ? &std::cin : &file, options, bytes_total, complete, sink->get());
  const double seconds = absl::ToDoubleSeconds(SteadyNow() - started);
  const uint64_t imported = (*sink)->imported, refused = (*sink)->problems.count();
  if (!status.ok()) {
    std::cerr << "wicket: " << (options.from_device.empty() ? options.file : options.from_device)
              << ": "
              << (!online       ? "nothing was imported"
                  : refused > 0 ? absl::StrCat("only ", imported, " peers were imported")
                                : absl::StrCat("stopped after at least ", imported, " peers"))
              << "\n"
              << status.message() << "\n";
  }
  if (options.json) {
    absl::PrintF("{\"imported\": %d, \"refused\": %d, \"seconds\": %.3f}\n", imported, refused,
                 seconds);
  } else if (status.ok()) {
    absl::PrintF("imported %d peers into %s in %.1f s\n", imported, where, seconds);
  }
  return status.ok() ? kOk : kFailure;
}

// The peers of a device, as wg itself writes them down; it knows every backend.
int ImportDevice(ImportOptions options) {
  if (options.from_device.size() > store::kDeviceNameBytesMax) {
    std::cerr << "wicket: " << options.from_device << ": not a device's name\n";
    return kUsage;
  }
  int ends[2];
  const pid_t child = pipe2(ends, O_CLOEXEC) == 0 ? fork() : -1;
  if (child == 0) {
    dup2(ends[1], STDOUT_FILENO);
    execlp("wg", "wg", "showconf", options.from_device.c_str(), nullptr);
    std::cerr << "wicket: wg: " << strerror(errno) << " (is wireguard-tools installed?)\n";
    _exit(127);
  }
  if (child < 0) {
    std::cerr << "wicket: " << strerror(errno) << "\n";
    return kFailure;
  }
  close(ends[1]);
  if (options.connection.device.empty()) options.connection.device = options.from_device;
  options.file = absl::StrCat("/dev/fd/", ends[0]);
  options.format = "conf";
  // Into a store: the whole list or nothing. wg must have ended well before the commit.
  const auto ended_well = [child] {
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  };
  return ImportFile(options, ended_well);
}

// Through a running daemon: stores what can be stored and reports the other lines.
// Into the store itself: all peers of the file, or none.
int Import(const ImportOptions& options) {
  if (options.file.empty() == options.from_device.empty()) {
    std::cerr << "wicket: import takes a file, or --from-device\n";
    return kUsage;
  }
  if (!options.from_device.empty()) return ImportDevice(options);
  return ImportFile(options, [] { return true; });
}

}  // namespace

void AddImportCommand(CLI::App* app, std::function<int()>* run) {
  static ImportOptions options;
  CLI::App* command = app->add_subcommand(
      "import", "store the peers of a file, through wicketd or, when none runs, all or none");
  command->add_option("file", options.file, "NDJSON or wg.conf; - reads standard input");
  command
      ->add_option("--from-device", options.from_device,
                   "the peers of a running WireGuard device, with their preshared keys")
      ->type_name("NAME");
  AddConnectionOptions(command, &options.connection);
  AddOfflineOption(command, &options.connection);
  command->add_option("--format", options.format, "format of the file")
      ->check(CLI::IsMember({"auto", "ndjson", "conf"}))
      ->capture_default_str();
  command->add_flag("--json", options.json, "print the result as JSON");
  command->callback([run] { *run = [] { return Import(options); }; });
}

}  // namespace wicket::tools
