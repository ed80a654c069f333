#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iostream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/fd.h"
#include "document/peer_text.h"
#include "store/store.h"
#include "tools/wicket/commands.h"

namespace wicket::tools {
namespace {

constexpr size_t kChunk = 1 << 16;  // peers sorted and written together
constexpr size_t kProblemsShown = 20;
constexpr size_t kExportChunk = 1024;

// A line on a terminal that says how far we are; nothing elsewhere.
class Progress {
 public:
  explicit Progress(uint64_t bytes_total)
      : bytes_total_(bytes_total), on_(isatty(STDERR_FILENO)), started_(absl::Now()) {}
  ~Progress() {
    if (on_) fprintf(stderr, "\r\033[K");
  }

  void Show(uint64_t peers, uint64_t bytes) {
    const absl::Time now = absl::Now();
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
  absl::Time started_;
  absl::Time next_ = absl::InfinitePast();
};

struct Numbered {
  uint64_t line;
  store::Peer peer;
};

absl::Status WriteChunk(store::Writer* writer, std::vector<Numbered>* chunk) {
  // In key order neighbouring records share pages: faster, and a smaller file.
  std::stable_sort(chunk->begin(), chunk->end(), [](const Numbered& a, const Numbered& b) {
    return a.peer.config.public_key < b.peer.config.public_key;
  });
  for (const Numbered& item : *chunk) {
    const absl::Status put = writer->PutPeer(item.peer);
    if (absl::IsAlreadyExists(put) || absl::IsInvalidArgument(put)) {
      return Annotate(put, absl::StrCat("line ", item.line));
    }
    WICKET_RETURN_IF_ERROR(put);
  }
  chunk->clear();
  return absl::OkStatus();
}

// Returns: how many peers were written.
absl::StatusOr<uint64_t> ImportStream(std::istream* input, const ImportOptions& options,
                                      uint64_t bytes_total, const std::function<bool()>& complete) {
  document::Format format = document::Format::kNdjson;
  if (options.format == "auto") format = document::DetectFormat(input);
  if (options.format == "conf") format = document::Format::kWgConf;
  WICKET_ASSIGN_OR_RETURN(store::Store store, store::Store::Open({.path = options.store}));
  WICKET_ASSIGN_OR_RETURN(store::Writer writer, store.Write());
  document::PeerReader reader(input, format, options.device);
  Progress progress(bytes_total);
  const absl::Time now = absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now()));
  std::vector<Numbered> chunk;
  std::string problems;
  size_t problem_count = 0;
  uint64_t peers = 0;
  for (;;) {
    Numbered item{0, {}};
    const absl::StatusOr<bool> more = reader.Next(&item.peer);
    if (!more.ok()) {
      // Nothing will be written, but whoever mends the file wants to see them all.
      if (++problem_count <= kProblemsShown) {
        absl::StrAppend(&problems, problems.empty() ? "" : "\n", more.status().message());
      }
      if (format == document::Format::kWgConf) break;  // the reader is out of step
      continue;
    }
    if (!*more) break;
    if (problem_count > 0) continue;
    item.line = reader.line();
    if (item.peer.created == absl::UnixEpoch()) item.peer.created = now;
    chunk.push_back(std::move(item));
    ++peers;
    progress.Show(peers, reader.bytes());
    if (chunk.size() == kChunk) WICKET_RETURN_IF_ERROR(WriteChunk(&writer, &chunk));
  }
  if (!complete()) return absl::UnavailableError("wg showconf failed");
  if (input->bad()) return absl::DataLossError("reading the file failed half-way");
  if (problem_count > kProblemsShown) {
    absl::StrAppend(&problems, "\n… and ", problem_count - kProblemsShown, " more");
  }
  if (problem_count > 0) return absl::InvalidArgumentError(problems);
  WICKET_RETURN_IF_ERROR(WriteChunk(&writer, &chunk));
  WICKET_RETURN_IF_ERROR(writer.Commit());
  return peers;
}

absl::Status ExportStream(std::ostream* output, const ExportOptions& options) {
  WICKET_ASSIGN_OR_RETURN(store::Store store,
                          store::Store::Open({.path = options.store, .create = false}));
  WICKET_ASSIGN_OR_RETURN(store::Snapshot snapshot, store.NewSnapshot());
  std::optional<PublicKey> cursor;
  for (size_t visited = kExportChunk; visited == kExportChunk;) {
    // A view per chunk: a long one would keep the writer from reusing pages.
    WICKET_RETURN_IF_ERROR(snapshot.Renew());
    std::string text;
    WICKET_ASSIGN_OR_RETURN(visited, snapshot.Walk(&cursor, kExportChunk, [&](store::Peer peer) {
      if (!options.device.empty() && peer.device != options.device) return;
      text += options.format == "conf" ? document::ToConfSection(peer) : document::ToJsonLine(peer);
      text += "\n";
    }));
    snapshot.Release();  // whoever reads our output may be slow
    *output << text;
  }
  output->flush();
  return *output ? absl::OkStatus() : absl::DataLossError("writing failed");
}

}  // namespace

namespace {

// `complete` is asked at the end of the input, before anything is written.
int ImportFile(const ImportOptions& options, const std::function<bool()>& complete) {
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
  const absl::Time started = absl::Now();
  const auto peers = ImportStream(from_stdin ? &std::cin : &file, options, bytes_total, complete);
  if (!peers.ok()) {
    std::cerr << "wicket: " << (options.from_device.empty() ? options.file : options.from_device)
              << ": nothing was imported\n"
              << peers.status().message() << "\n";
    return kFailure;
  }
  const double seconds = absl::ToDoubleSeconds(absl::Now() - started);
  if (options.json) {
    absl::PrintF("{\"imported\": %d, \"seconds\": %.3f}\n", *peers, seconds);
  } else {
    absl::PrintF("imported %d peers into %s in %.1f s\n", *peers, options.store, seconds);
  }
  return kOk;
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
  if (options.device.empty()) options.device = options.from_device;
  options.file = absl::StrCat("/dev/fd/", ends[0]);
  options.format = "conf";
  // The whole list or nothing: wg must have ended well before anything is written.
  const auto ended_well = [child] {
    int status = 0;
    return waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
  };
  return ImportFile(options, ended_well);
}

}  // namespace

int Import(const ImportOptions& options) {
  if (options.file.empty() == options.from_device.empty()) {
    std::cerr << "wicket: import takes a file, or --from-device\n";
    return kUsage;
  }
  if (!options.from_device.empty()) return ImportDevice(options);
  return ImportFile(options, [] { return true; });
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
  const absl::Status status = ExportStream(options.file == "-" ? &std::cout : &file, options);
  if (status.ok()) return kOk;
  std::cerr << "wicket: export: " << status.message() << "\n";
  return kFailure;
}

}  // namespace wicket::tools
