#include "control/api.h"

#include <stdio.h>

#include <istream>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"

namespace wicket::control {

using http::KindOf;
using http::ParseKeySegment;
using http::Role;
using http::Target;
namespace {

constexpr size_t kPageDefault = 100;
constexpr size_t kPageMax = 1000;
constexpr size_t kEntriesMax = 20'000;  // of an index, read for one page
constexpr size_t kStreamPage = 512;     // peers exported from one view of the store
constexpr size_t kImportChunk = 512;    // peers imported in one change
constexpr int kAllocationTries = 1000;
constexpr absl::Duration kEventWait = absl::Seconds(1);
constexpr int kHeartbeat = 15;  // waits without an event between two signs of life

// For a stretch of calls that the importer makes with one change.
struct Line {
  uint64_t number;
  document::PeerRequest request;
  const Pool* pool;
};

std::string ToJson(const absl::Status& status, uint64_t line) {
  return document::ToErrorJson(KindOf(status).code, status.message(), document::FieldOf(status),
                               line);
}

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
    rewind(file_.get());
    char bytes[16 << 10];
    while (const size_t n = fread(bytes, 1, sizeof(bytes), file_.get())) {
      if (!exchange.Write({bytes, n})) return false;
    }
    return true;
  }

 private:
  std::unique_ptr<FILE, int (*)(FILE*)> file_;
};

// Returns: nullopt when it is not asked for.
absl::StatusOr<std::optional<bool>> FlagOf(const Target& target, const std::string& name) {
  const auto it = target.query.find(name);
  if (it == target.query.end()) return std::nullopt;
  if (it->second == "true" || it->second == "false") return it->second == "true";
  return document::AboutField(
      name, absl::InvalidArgumentError(
                absl::StrCat(name, ": found \"", it->second, "\"; accepted: true or false")));
}

absl::Status CheckQuery(const Target& target, std::initializer_list<const char*> known) {
  for (const auto& [name, value] : target.query) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      return document::AboutField(
          name, absl::InvalidArgumentError(absl::StrCat("unknown parameter \"", name, "\"")));
    }
  }
  return absl::OkStatus();
}

// The store has it, the device does not: to be asked again.
absl::Status NotInDevice(const absl::Status& status, absl::string_view what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", status.message()));
}

std::string WebSafe(absl::string_view bytes) { return absl::WebSafeBase64Escape(bytes); }

}  // namespace

// --- routes -----------------------------------------------------------------

struct Api::Route {
  const char* method;
  std::vector<std::string> path;  // "{}" matches any segment
  Role role;
  void (Api::*handle)(Exchange&);

  bool Matches(const std::vector<std::string>& asked) const {
    if (asked.size() != path.size()) return false;
    for (size_t i = 0; i < path.size(); ++i) {
      if (path[i] != "{}" && path[i] != asked[i]) return false;
    }
    return true;
  }
};

const std::vector<Api::Route>& Api::Routes() {
  static const auto* routes = new std::vector<Route>{
      {"GET", {"v1", "status"}, Role::kRead, &Api::GetStatus},
      {"GET", {"v1", "events"}, Role::kRead, &Api::GetEvents},
      {"GET", {"v1", "devices", "{}", "peers"}, Role::kRead, &Api::ListPeers},
      {"PUT", {"v1", "devices", "{}", "peers", "{}"}, Role::kWrite, &Api::PutPeer},
      {"GET", {"v1", "devices", "{}", "peers", "{}"}, Role::kRead, &Api::GetPeer},
      {"DELETE", {"v1", "devices", "{}", "peers", "{}"}, Role::kWrite, &Api::DeletePeer},
      {"POST",
       {"v1", "devices", "{}", "peers", "{}", "reset-replay"},
       Role::kWrite,
       &Api::ResetReplay},
      {"GET", {"v1", "devices", "{}", "addresses", "{}"}, Role::kRead, &Api::GetAddress},
      {"POST", {"v1", "devices", "{}", "import"}, Role::kWrite, &Api::Import},
      // Preshared keys are in it.
      {"GET", {"v1", "devices", "{}", "export"}, Role::kWrite, &Api::Export}};
  return *routes;
}

void Api::Handle(Exchange& exchange) {
  const auto& path = exchange.target().path;
  std::string allow;
  for (const Route& route : Routes()) {
    if (!route.Matches(path)) continue;
    if (exchange.method() != route.method) {
      absl::StrAppend(&allow, allow.empty() ? "" : ", ", route.method);
      continue;
    }
    if (exchange.role == Role::kNone) {
      return exchange.AnswerError(absl::UnauthenticatedError("a valid bearer token is needed"));
    }
    if (exchange.role < route.role) {
      return exchange.AnswerError(
          absl::PermissionDeniedError("this connection may read, not write"));
    }
    if (path.size() > 2 && !devices_->Has(path[2])) {
      return exchange.AnswerError(
          absl::NotFoundError(absl::StrCat("no device \"", path[2], "\" is configured")));
    }
    return (this->*route.handle)(exchange);
  }
  if (allow.empty()) {
    return exchange.AnswerError(404, "not_found", "there is nothing at this path");
  }
  exchange.set_allow(allow);
  exchange.AnswerError(405, "method_not_allowed",
                       absl::StrCat("this path takes ", allow, ", not ", exchange.method()));
}

// --- the gateway ------------------------------------------------------------

void Api::GetStatus(Exchange& exchange) { exchange.Answer(200, status_()); }

// Server-sent events; [WHATWG HTML 9.2].
void Api::GetEvents(Exchange& exchange) {
  event::EventLog::Watcher watcher(events_);
  // A first line at once, so that the client knows it will miss nothing from here.
  if (!exchange.BeginStream("text/event-stream") || !exchange.Write(": watching\n\n")) return;
  int quiet = 0;
  while (!exchange.stopping() && !exchange.Abandoned()) {
    const auto batch = watcher.Read(kEventWait);
    std::string text;
    if (batch.missed > 0) {
      absl::StrAppend(&text, "event: lagged\ndata: {\"missed\":", batch.missed, "}\n\n");
    }
    for (const event::Event& event : batch.events) {
      absl::StrAppend(&text, "event: ", event::ToString(event.kind),
                      "\ndata: ", document::ToJson(event), "\n\n");
    }
    if (text.empty() && ++quiet == kHeartbeat) text = ": still here\n\n";
    if (!text.empty()) quiet = 0;
    if (!exchange.Write(text)) return;
  }
  exchange.EndStream();
}

// --- peers ------------------------------------------------------------------

absl::StatusOr<PublicKey> Api::KeyOf(const Exchange& exchange) const {
  const auto key = ParseKeySegment(exchange.target().path[4]);
  if (key) return *key;
  return document::AboutField(
      "public_key",
      absl::InvalidArgumentError("public_key: the path has no key of 32 bytes; accepted: base64 "
                                 "with / and + escaped, or base64url"));
}

absl::StatusOr<const Pool*> Api::PoolOf(const document::PeerRequest& request) const {
  if (request.pool.empty()) return nullptr;
  const auto it = pools_.find(request.pool);
  if (it != pools_.end() && it->second.device == request.peer.device) return &it->second;
  return document::AboutField("allocate", absl::InvalidArgumentError(absl::StrCat(
                                              "allocate: no pool \"", request.pool,
                                              "\" is configured for ", request.peer.device)));
}

std::string Api::Report(const store::Peer& peer, const store::Snapshot& snapshot) {
  const PublicKey& key = peer.config.public_key;
  const auto found = devices_->Find(peer.device, {&key, 1});
  if (found.ok() && found->contains(key)) {
    const roster::Installed& installed = found->at(key);
    return document::ToReport(peer, installed.session, installed.state);
  }
  return document::ToReport(peer, snapshot.FindSession(key), "stored");
}

void Api::Note(event::Kind kind, const store::Peer& peer) {
  events_->Append(
      {.kind = kind, .at = absl::Now(), .device = peer.device, .peer = peer.config.public_key});
}

// Creates or replaces one peer in a transaction. Nothing is written on error.
absl::Status Api::PutInto(store::Writer& writer, const document::PeerRequest& request,
                          const Pool* pool, Stored* stored) const {
  store::Peer& peer = stored->peer;
  peer = {};
  peer.config.public_key = request.peer.config.public_key;
  if (request.peer.config.preshared_key) {
    peer.config.preshared_key = request.peer.config.preshared_key->Clone();
  }
  peer.config.persistent_keepalive_s = request.peer.config.persistent_keepalive_s;
  peer.config.allowed_ips = request.peer.config.allowed_ips;
  peer.device = request.peer.device;
  peer.expires = request.peer.expires;
  peer.pinned = request.peer.pinned;
  peer.labels = request.peer.labels;
  peer.created = request.peer.created;

  const absl::StatusOr<store::Peer> before = writer.FindPeer(peer.config.public_key);
  stored->created = absl::IsNotFound(before.status());
  if (peer.created == absl::UnixEpoch()) {
    peer.created =
        before.ok() ? before->created : absl::FromUnixSeconds(absl::ToUnixSeconds(absl::Now()));
  }
  WICKET_RETURN_IF_ERROR(writer.CheckPeer(peer));
  if (pool == nullptr) return writer.PutPeer(peer);
  // What is taken here and not put must go back: an error must leave nothing behind.
  std::vector<Prefix> taken;
  const auto give_back = [&](const absl::Status& status) -> absl::Status {
    for (const Prefix& address : taken) {
      WICKET_RETURN_IF_ERROR(writer.Release(peer.device, address));
    }
    return status;
  };
  for (const auto* cidrs : {&pool->ipv4, &pool->ipv6}) {
    if (cidrs->empty()) continue;
    // Whoever has an address of the pool keeps it.
    std::optional<Prefix> address;
    for (const Prefix& own : before.ok() ? before->config.allowed_ips : std::vector<Prefix>{}) {
      for (const Prefix& cidr : *cidrs) {
        if (own.length == own.address.bits() && Contains(cidr, own)) address = own;
      }
    }
    if (!address) {
      const auto allocated = writer.Allocate(peer.device, *cidrs);
      if (!allocated.ok()) return give_back(allocated.status());
      taken.push_back(*allocated);
      address = *allocated;
    }
    if (std::find(peer.config.allowed_ips.begin(), peer.config.allowed_ips.end(), *address) ==
        peer.config.allowed_ips.end()) {
      peer.config.allowed_ips.push_back(*address);
    }
  }
  const absl::Status put = writer.PutPeer(peer);
  return put.ok() ? put : give_back(put);
}

// An allocation that has skipped its share of used addresses is asked again; what
// it skipped is remembered.
absl::Status Api::CommitRetrying(const store::Committer::Change& change) {
  absl::Status status;
  for (int i = 0; i < kAllocationTries; ++i) {
    status = committer_->Commit(change);
    if (!absl::IsUnavailable(status)) break;
  }
  return status;
}

absl::Status Api::SyncOne(const std::string& device, const PublicKey& key) {
  return devices_->Sync(device, {&key, 1})[0];
}

void Api::PutPeer(Exchange& exchange) {
  const auto key = KeyOf(exchange);
  if (!key.ok()) return exchange.AnswerError(key.status());
  auto body = exchange.ReadBody();
  if (!body.ok()) return exchange.AnswerError(body.status());
  auto request = document::ParsePeerRequest(body->empty() ? "{}" : *body, absl::Now());
  explicit_bzero(body->data(), body->size());
  if (!request.ok()) return exchange.AnswerError(request.status());
  const std::string& device = exchange.target().path[2];
  store::Peer& peer = request->peer;
  if (request->has_public_key && peer.config.public_key != *key) {
    return exchange.AnswerError(document::AboutField(
        "public_key", absl::InvalidArgumentError("public_key: another one than in the path")));
  }
  if (!peer.device.empty() && peer.device != device) {
    return exchange.AnswerError(document::AboutField(
        "device", absl::InvalidArgumentError("device: another one than in the path")));
  }
  peer.config.public_key = *key;
  peer.device = device;
  const auto pool = PoolOf(*request);
  if (!pool.ok()) return exchange.AnswerError(pool.status());

  Stored stored;
  const absl::Status put = CommitRetrying(
      [&](store::Writer& writer) { return PutInto(writer, *request, *pool, &stored); });
  if (!put.ok()) return exchange.AnswerError(put);
  Note(stored.created ? event::Kind::kCreated : event::Kind::kUpdated, stored.peer);
  if (!stored.created) {
    if (const absl::Status synced = SyncOne(device, *key); !synced.ok()) {
      return exchange.AnswerError(NotInDevice(synced, "stored, but the device was not updated"));
    }
  }
  const auto snapshot = store_->NewSnapshot();
  if (!snapshot.ok()) return exchange.AnswerError(snapshot.status());
  exchange.Answer(stored.created ? 201 : 200, Report(stored.peer, *snapshot));
}

void Api::GetPeer(Exchange& exchange) {
  const auto key = KeyOf(exchange);
  if (!key.ok()) return exchange.AnswerError(key.status());
  const auto snapshot = store_->NewSnapshot();
  if (!snapshot.ok()) return exchange.AnswerError(snapshot.status());
  const auto peer = snapshot->FindPeer(*key);
  if (!peer.ok()) return exchange.AnswerError(peer.status());
  if (peer->device != exchange.target().path[2]) {
    return exchange.AnswerError(
        absl::NotFoundError(absl::StrCat("the peer is stored for device ", peer->device)));
  }
  if (const auto known = CheckQuery(exchange.target(), {"secrets"}); !known.ok()) {
    return exchange.AnswerError(known);
  }
  const auto secrets = FlagOf(exchange.target(), "secrets");
  if (!secrets.ok()) return exchange.AnswerError(secrets.status());
  if (!secrets->value_or(false)) return exchange.Answer(200, Report(*peer, *snapshot));
  if (exchange.role < Role::kWrite) {
    return exchange.AnswerError(absl::PermissionDeniedError("secrets are for those who may write"));
  }
  exchange.Answer(200, document::ToJsonLine(*peer));
}

void Api::DeletePeer(Exchange& exchange) {
  const auto key = KeyOf(exchange);
  if (!key.ok()) return exchange.AnswerError(key.status());
  const std::string& device = exchange.target().path[2];
  const absl::Status deleted = committer_->Commit([&](store::Writer& writer) -> absl::Status {
    const auto peer = writer.FindPeer(*key);
    if (peer.ok() && peer->device != device) {
      return absl::NotFoundError(absl::StrCat("the peer is stored for device ", peer->device));
    }
    return writer.DeletePeer(*key);
  });
  if (!deleted.ok() && !absl::IsNotFound(deleted)) return exchange.AnswerError(deleted);
  // Also when it was deleted before: an earlier call may have failed here.
  if (const absl::Status synced = SyncOne(device, *key); !synced.ok()) {
    return exchange.AnswerError(NotInDevice(synced, "deleted, but the device still has it"));
  }
  if (!deleted.ok()) return exchange.AnswerError(deleted);
  events_->Append(
      {.kind = event::Kind::kDeleted, .at = absl::Now(), .device = device, .peer = *key});
  exchange.Answer(204, "");
}

void Api::ResetReplay(Exchange& exchange) {
  const auto key = KeyOf(exchange);
  if (!key.ok()) return exchange.AnswerError(key.status());
  const std::string& device = exchange.target().path[2];
  const auto reset = [&](store::Writer& writer) -> absl::Status {
    WICKET_ASSIGN_OR_RETURN(const store::Peer peer, writer.FindPeer(*key));
    if (peer.device != device) {
      return absl::NotFoundError(absl::StrCat("the peer is stored for device ", peer.device));
    }
    auto session = writer.FindSession(*key);
    if (!session) return absl::OkStatus();
    session->mark = {};
    session->last_handshake = absl::UnixEpoch();  // a mark is drawn from it too
    return writer.PutSession(*key, *session);
  };
  // Before and after: the installer may save what it knows in between.
  devices_->ForgetMark(device, *key).IgnoreError();
  if (const absl::Status done = committer_->Commit(reset); !done.ok()) {
    return exchange.AnswerError(done);
  }
  devices_->ForgetMark(device, *key).IgnoreError();
  exchange.Answer(204, "");
}

void Api::GetAddress(Exchange& exchange) {
  const auto address = ParseAddress(exchange.target().path[4]);
  if (!address) {
    return exchange.AnswerError(document::AboutField(
        "address", absl::InvalidArgumentError("address: not an IPv4 or IPv6 address")));
  }
  const auto snapshot = store_->NewSnapshot();
  if (!snapshot.ok()) return exchange.AnswerError(snapshot.status());
  const auto owner = snapshot->FindAddress(exchange.target().path[2], *address);
  if (!owner) return exchange.AnswerError(absl::NotFoundError("no peer has this address"));
  const auto peer = snapshot->FindPeer(*owner);
  if (!peer.ok()) return exchange.AnswerError(peer.status());
  exchange.Answer(200, Report(*peer, *snapshot));
}

// --- lists ------------------------------------------------------------------

namespace {

struct Page {
  store::Selection selection;
  std::optional<bool> installed, expired;
  size_t limit = kPageDefault;
  std::string cursor;
};

absl::StatusOr<Page> ParsePage(const Target& target) {
  WICKET_RETURN_IF_ERROR(
      CheckQuery(target, {"label", "prefix", "installed", "expired", "limit", "cursor"}));
  Page page;
  page.selection.device = target.path[2];
  const auto get = [&](const char* name) -> const std::string* {
    const auto it = target.query.find(name);
    return it == target.query.end() ? nullptr : &it->second;
  };
  const auto bad = [](const char* name, absl::string_view accepted) {
    return document::AboutField(
        name, absl::InvalidArgumentError(absl::StrCat(name, ": accepted: ", accepted)));
  };
  if (const std::string* text = get("limit")) {
    if (!absl::SimpleAtoi(*text, &page.limit) || page.limit < 1 || page.limit > kPageMax) {
      return bad("limit", absl::StrCat("1 to ", kPageMax));
    }
  }
  if (const std::string* text = get("label")) {
    const size_t equals = text->find('=');
    if (equals == text->npos || equals == 0) return bad("label", "NAME=VALUE");
    page.selection.label = {text->substr(0, equals), text->substr(equals + 1)};
  }
  if (const std::string* text = get("prefix")) {
    page.selection.within = ParsePrefix(*text);
    if (!page.selection.within) return bad("prefix", "an address, or address/length");
  }
  if (const std::string* text = get("cursor")) {
    if (!absl::WebSafeBase64Unescape(*text, &page.cursor) || page.cursor.size() > 511) {
      return bad("cursor", "what an earlier page gave as next_cursor");
    }
  }
  WICKET_ASSIGN_OR_RETURN(page.installed, FlagOf(target, "installed"));
  WICKET_ASSIGN_OR_RETURN(page.expired, FlagOf(target, "expired"));
  if (page.expired == true) page.selection.expired_by = absl::Now();
  return page;
}

}  // namespace

void Api::ListPeers(Exchange& exchange) {
  auto page = ParsePage(exchange.target());
  if (!page.ok()) return exchange.AnswerError(page.status());
  const auto snapshot = store_->NewSnapshot();
  if (!snapshot.ok()) return exchange.AnswerError(snapshot.status());
  std::vector<store::Peer> peers;
  absl::Status listed;
  const absl::Time now = absl::Now();
  const auto admits = [&](const store::Peer& peer) {
    if (page->expired == false && peer.expires <= now) return false;
    return page->installed != false || !devices_->Find(peer.device, {&peer.config.public_key, 1})
                                            ->contains(peer.config.public_key);
  };
  if (page->installed == true) {
    std::optional<PublicKey> after;
    if (page->cursor.size() == kKeyBytes) {
      memcpy(after.emplace().bytes.data(), page->cursor.data(), kKeyBytes);
    }
    const auto keys =
        *devices_->List(page->selection.device, after, std::min(page->limit, kPageMax));
    for (const PublicKey& key : keys) {
      auto peer = snapshot->FindPeer(key);
      if (peer.ok() && page->selection.Admits(*peer) && admits(*peer)) {
        peers.push_back(std::move(*peer));
      }
    }
    page->cursor.clear();
    if (keys.size() == page->limit) {
      page->cursor.assign(reinterpret_cast<const char*>(keys.back().bytes.data()), kKeyBytes);
    }
  } else {
    listed = snapshot->List(page->selection, kEntriesMax, &page->cursor, [&](store::Peer peer) {
      if (admits(peer)) peers.push_back(std::move(peer));
      return peers.size() < page->limit;
    });
  }
  if (absl::IsInvalidArgument(listed)) {
    return exchange.AnswerError(document::AboutField("cursor", listed));
  }
  if (!listed.ok()) return exchange.AnswerError(listed);
  std::string json = "{\"peers\":[";
  for (size_t i = 0; i < peers.size(); ++i) {
    absl::StrAppend(&json, i ? "," : "", Report(peers[i], *snapshot));
  }
  json += "]";
  if (!page->cursor.empty()) {
    absl::StrAppend(&json, ",\"next_cursor\":\"", WebSafe(page->cursor), "\"");
  }
  exchange.Answer(200, json + "}");
}

// --- in bulk ----------------------------------------------------------------

void Api::Import(Exchange& exchange) {
  const std::string device = exchange.target().path[2];
  std::istream body(exchange.body());
  Spool refused;
  uint64_t line_number = 0, imported = 0, refused_count = 0;
  bool spooled = true;
  std::vector<Line> chunk;
  absl::Status failed;
  const auto refuse = [&](uint64_t line, const absl::Status& status) {
    ++refused_count;
    spooled = refused.Add(ToJson(status, line)) && spooled;
  };
  const auto flush = [&] {
    std::vector<absl::Status> results;
    std::vector<Stored> stored;
    failed = CommitRetrying([&](store::Writer& writer) -> absl::Status {
      results.clear();
      stored.clear();
      for (const Line& line : chunk) {
        results.push_back(PutInto(writer, line.request, line.pool, &stored.emplace_back()));
        if (writer.spoilt() || absl::IsUnavailable(results.back())) return results.back();
      }
      return absl::OkStatus();
    });
    if (!failed.ok()) return;
    for (size_t i = 0; i < chunk.size(); ++i) {
      if (!results[i].ok()) {
        refuse(chunk[i].number, results[i]);
        continue;
      }
      ++imported;
      Note(stored[i].created ? event::Kind::kCreated : event::Kind::kUpdated, stored[i].peer);
      if (!stored[i].created) {
        const absl::Status synced = SyncOne(device, stored[i].peer.config.public_key);
        if (!synced.ok()) refuse(chunk[i].number, Annotate(synced, "stored, not in the device"));
      }
    }
    chunk.clear();
  };
  std::string text;
  while (failed.ok() && !exchange.stopping() && document::ReadBoundedLine(body, &text)) {
    ++line_number;
    if (text.find_first_not_of(" \t\r") == text.npos) continue;
    auto request = document::ParsePeerRequest(text, absl::Now());
    explicit_bzero(text.data(), text.size());
    absl::Status status = request.status();
    if (status.ok() && !request->has_public_key) {
      status =
          document::AboutField("public_key", absl::InvalidArgumentError("public_key is missing"));
    }
    if (status.ok() && !request->peer.device.empty() && request->peer.device != device) {
      status = document::AboutField(
          "device", absl::InvalidArgumentError("device: another one than in the path"));
    }
    absl::StatusOr<const Pool*> pool = nullptr;
    if (status.ok()) {
      request->peer.device = device;
      pool = PoolOf(*request);
      status = pool.status();
    }
    if (!status.ok()) {
      refuse(line_number, status);
      continue;
    }
    chunk.push_back({line_number, std::move(*request), *pool});
    if (chunk.size() == kImportChunk) flush();
  }
  if (failed.ok() && !chunk.empty()) flush();
  if (failed.ok() && !exchange.body_done()) {
    failed = absl::AbortedError(exchange.stopping() ? "the gateway stops"
                                                    : "the body ended early, or stalled");
  }
  if (failed.ok() && !spooled) {
    failed = absl::ResourceExhaustedError("no room for the report of the refused lines");
  }
  if (!failed.ok()) {
    return exchange.AnswerError(Annotate(
        failed, absl::StrCat("after ", imported, " imported peers and ", line_number, " lines")));
  }
  if (exchange.BeginStream("application/x-ndjson") && refused.CopyTo(exchange) &&
      exchange.Write(
          absl::StrCat("{\"imported\":", imported, ",\"refused\":", refused_count, "}\n"))) {
    exchange.EndStream();
  }
}

void Api::Export(Exchange& exchange) {
  const auto page = ParsePage(exchange.target());
  if (!page.ok()) return exchange.AnswerError(page.status());
  auto snapshot = store_->NewSnapshot();
  if (!snapshot.ok()) return exchange.AnswerError(snapshot.status());
  if (!exchange.BeginStream("application/x-ndjson")) return;
  std::string cursor;
  do {
    // A view for each page: a long one would keep the writer from reusing what it deletes.
    std::string text;
    size_t left = kStreamPage;
    absl::Status status = snapshot->Renew();
    if (status.ok()) {
      status = snapshot->List(page->selection, kEntriesMax, &cursor, [&](store::Peer peer) {
        if (page->expired == false && peer.expires <= absl::Now()) return true;
        absl::StrAppend(&text, document::ToJsonLine(peer), "\n");
        return --left > 0;
      });
    }
    snapshot->Release();
    const bool written = exchange.Write(text);
    explicit_bzero(text.data(), text.size());
    // The answer has begun: an end without its last chunk tells the client.
    if (!status.ok() || !written || exchange.stopping()) return exchange.Abort();
  } while (!cursor.empty());
  exchange.EndStream();
}

}  // namespace wicket::control
