#include "control/bulk.h"

#include <stdio.h>
#include <string.h>

#include <istream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "control/listing.h"
#include "document/answer_text.h"
#include "document/peer_text.h"

namespace wicket::control {
namespace {

using http::Exchange;

constexpr size_t kStreamPage = 512;  // peers exported from one view of the store

// Lines of any number, kept in a file that has no name.
class Spool {
 public:
  Spool() : file_(tmpfile(), fclose) {}
  bool Add(const std::string& line) {
    return file_ && fputs((line + "\n").c_str(), file_.get()) >= 0;
  }
  // Returns: false when `exchange` is gone.
  bool CopyTo(Exchange& exchange) {
    if (!file_) return true;
    if (fseek(file_.get(), 0, SEEK_SET) != 0) return false;  // writes what is buffered
    char bytes[16 << 10];
    while (const size_t n = fread(bytes, 1, sizeof(bytes), file_.get())) {
      if (!exchange.Write({bytes, n})) return false;
    }
    return true;
  }

 private:
  std::unique_ptr<FILE, int (*)(FILE*)> file_;
};

size_t BytesOf(const document::PeerRequest& request) {
  const store::Peer& peer = request.peer;
  size_t bytes = sizeof(request) + peer.config.allowed_ips.capacity() * sizeof(Prefix) +
                 peer.labels.capacity() * sizeof(peer.labels[0]);
  for (const auto& [name, text] : peer.labels) bytes += name.capacity() + text.capacity();
  return bytes;
}

absl::StatusOr<document::PeerRequest> ParseLine(absl::string_view text, const std::string& device) {
  WICKET_ASSIGN_OR_RETURN(document::PeerRequest request,
                          document::ParsePeerRequest(text, WallNow()));
  if (!request.has_public_key) {
    return document::AboutField("public_key", absl::InvalidArgumentError("public_key is missing"));
  }
  if (!request.peer.device.empty() && request.peer.device != device) {
    return document::AboutField("device",
                                absl::InvalidArgumentError("device: another one than in the path"));
  }
  request.peer.device = device;
  return request;
}

class Importer {
 public:
  Importer(roster::Roster* roster, std::string device)
      : roster_(roster), device_(std::move(device)) {}

  // Takes the next line. Secrets: wipes it.
  void Add(std::string* text) {
    ++lines_;
    if (text->find_first_not_of(" \t\r") == text->npos) return;
    auto request = text->size() > document::kLineBytesMax
                       ? absl::InvalidArgumentError("longer than 1 MiB")
                       : ParseLine(*text, device_);
    explicit_bzero(text->data(), text->size());
    if (!request.ok()) return Refuse(lines_, request.status());
    chunk_bytes_ += BytesOf(*request);
    chunk_lines_.push_back(lines_);
    chunk_.push_back(std::move(*request));
    if (chunk_.size() == kImportChunk || chunk_bytes_ >= kImportChunkBytes) Flush();
  }

  void Flush() {
    if (chunk_.empty()) return;
    const auto all = roster_->PutAll(chunk_);
    for (size_t i = 0; i < all.results.size(); ++i) {
      const absl::Status& status = all.results[i].status();
      if (status.ok() || absl::IsUnavailable(status)) ++imported_;
      if (!status.ok()) Refuse(chunk_lines_[i], status);
    }
    failed_ = all.failed;
    chunk_.clear();
    chunk_lines_.clear();
    chunk_bytes_ = 0;
  }

  // Why it cannot go on.
  const absl::Status& failed() const { return failed_; }

  // Errors: it could not go on to the end.
  absl::Status Answer(Exchange& exchange) {
    if (failed_.ok() && !exchange.body_done()) {
      failed_ = absl::AbortedError(exchange.stopping() ? "the gateway stops"
                                                       : "the body ended early, or stalled");
    }
    if (failed_.ok() && !spooled_) {
      failed_ = absl::ResourceExhaustedError("no room for the report of the refused lines");
    }
    if (!failed_.ok()) {
      return Annotate(failed_,
                      absl::StrCat("after ", imported_, " imported peers and ", lines_, " lines"));
    }
    if (exchange.BeginStream("application/x-ndjson") && refused_.CopyTo(exchange) &&
        exchange.Write(
            absl::StrCat("{\"imported\":", imported_, ",\"refused\":", refused_count_, "}\n"))) {
      exchange.EndStream();
    }
    return absl::OkStatus();
  }

 private:
  void Refuse(uint64_t line, const absl::Status& status) {
    ++refused_count_;
    spooled_ = refused_.Add(document::ToErrorJson(http::KindOf(status).code, status.message(),
                                                  document::FieldOf(status), line)) &&
               spooled_;
  }

  roster::Roster* roster_;
  const std::string device_;
  std::vector<document::PeerRequest> chunk_;
  std::vector<uint64_t> chunk_lines_;  // where each of them stands
  size_t chunk_bytes_ = 0;
  uint64_t lines_ = 0, imported_ = 0, refused_count_ = 0;
  Spool refused_;
  bool spooled_ = true;
  absl::Status failed_;
};

}  // namespace

absl::Status Import(Exchange& exchange, roster::Roster& roster) {
  std::istream body(exchange.body());
  Importer importer(&roster, exchange.target().path[2]);
  std::string text;
  while (importer.failed().ok() && !exchange.stopping() && document::ReadBoundedLine(body, &text)) {
    importer.Add(&text);
  }
  if (importer.failed().ok()) importer.Flush();
  return importer.Answer(exchange);
}

absl::Status Export(Exchange& exchange, const store::Store& store) {
  WICKET_ASSIGN_OR_RETURN(const Page page, ParsePage(exchange.target(), WallNow()));
  WICKET_ASSIGN_OR_RETURN(store::Snapshot snapshot, store.NewSnapshot());
  if (!exchange.BeginStream("application/x-ndjson")) return absl::OkStatus();
  std::string cursor;
  do {
    // A view for each page: a long one would keep the writer from reusing what it deletes.
    std::string text;
    size_t left = kStreamPage;
    absl::Status status = snapshot.Renew();
    if (status.ok()) {
      status = snapshot.List(page.selection, kEntriesMax, &cursor, [&](const store::Peer& peer) {
        if (!page.Admits(peer)) return true;
        absl::StrAppend(&text, document::ToJsonLine(peer), "\n");
        return --left > 0;
      });
    }
    snapshot.Release();
    const bool written = exchange.Write(text);
    explicit_bzero(text.data(), text.size());
    // The answer has begun: an end without its last chunk tells the client.
    if (!status.ok() || !written || exchange.stopping()) {
      exchange.Abort();
      return absl::OkStatus();
    }
  } while (!cursor.empty());
  exchange.EndStream();
  return absl::OkStatus();
}

}  // namespace wicket::control
