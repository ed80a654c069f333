#include "control/api.h"

#include <string.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "control/bulk.h"
#include "control/event_filter.h"
#include "control/listing.h"
#include "control/query.h"
#include "control/why.h"
#include "document/answer_text.h"
#include "document/peer_text.h"

namespace wicket::control {

using http::Exchange;
using http::Role;

namespace {

constexpr absl::Duration kEventWait = absl::Seconds(1);
constexpr int kHeartbeat = 15;  // waits without an event between two signs of life

const std::string& DeviceOf(const Exchange& exchange) { return exchange.target().path[2]; }

absl::StatusOr<PublicKey> KeyOf(const Exchange& exchange) {
  const auto key = http::ParseKeySegment(exchange.target().path[4]);
  if (key) return *key;
  return document::AboutField(
      "public_key",
      absl::InvalidArgumentError("public_key: the path has no key of 32 bytes; accepted: base64 "
                                 "with / and + escaped, or base64url"));
}

absl::Status OfAnotherDevice(const store::Peer& peer) {
  return absl::NotFoundError(absl::StrCat("the peer is stored for device ", peer.device));
}

// The peer of the path, with what the body says of it.
absl::StatusOr<document::PeerRequest> ReadPeer(Exchange& exchange) {
  WICKET_ASSIGN_OR_RETURN(const PublicKey key, KeyOf(exchange));
  WICKET_ASSIGN_OR_RETURN(std::string body, exchange.ReadBody());
  auto request = document::ParsePeerRequest(body.empty() ? "{}" : body, WallNow());
  explicit_bzero(body.data(), body.size());
  WICKET_RETURN_IF_ERROR(request.status());
  store::Peer& peer = request->peer;
  if (request->has_public_key && peer.config.public_key != key) {
    return document::AboutField(
        "public_key", absl::InvalidArgumentError("public_key: another one than in the path"));
  }
  if (!peer.device.empty() && peer.device != DeviceOf(exchange)) {
    return document::AboutField("device",
                                absl::InvalidArgumentError("device: another one than in the path"));
  }
  peer.config.public_key = key;
  peer.device = DeviceOf(exchange);
  return request;
}

// Server-sent events [WHATWG HTML 9.2] of a batch; empty: nothing that the filter admits.
std::string FramesOf(const event::EventLog::Watcher::Batch& batch, const EventFilter& filter) {
  std::string text;
  if (batch.missed > 0) {
    absl::StrAppend(&text, "event: lagged\ndata: {\"missed\":", batch.missed, "}\n\n");
  }
  for (const event::Event& event : batch.events) {
    if (!filter.Admits(event)) continue;
    absl::StrAppend(&text, "event: ", event::ToString(event.kind),
                    "\ndata: ", document::ToJson(event), "\n\n");
  }
  return text;
}

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
      {"GET", {"metrics"}, Role::kMetrics, &Api::GetMetrics},
      {"GET", {"v1", "history"}, Role::kRead, &Api::GetHistory},
      {"GET", {"v1", "findings"}, Role::kRead, &Api::GetFindings},
      {"GET", {"v1", "events"}, Role::kRead, &Api::GetEvents},
      {"POST", {"v1", "reload"}, Role::kWrite, &Api::PostReload},
      {"GET", {"v1", "devices", "{}", "peers"}, Role::kRead, &Api::GetPeers},
      {"PUT", {"v1", "devices", "{}", "peers", "{}"}, Role::kWrite, &Api::PutPeer},
      {"GET", {"v1", "devices", "{}", "peers", "{}"}, Role::kRead, &Api::GetPeer},
      {"GET", {"v1", "devices", "{}", "peers", "{}", "why"}, Role::kRead, &Api::GetWhy},
      {"DELETE", {"v1", "devices", "{}", "peers", "{}"}, Role::kWrite, &Api::DeletePeer},
      {"POST",
       {"v1", "devices", "{}", "peers", "{}", "reset-replay"},
       Role::kWrite,
       &Api::ResetReplay},
      {"GET", {"v1", "devices", "{}", "addresses", "{}"}, Role::kRead, &Api::GetAddress},
      {"POST", {"v1", "devices", "{}", "import"}, Role::kWrite, &Api::PostImport},
      // Preshared keys are in it.
      {"GET", {"v1", "devices", "{}", "export"}, Role::kWrite, &Api::GetExport}};
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
    if (exchange.role <= Role::kNone) {
      return exchange.AnswerError(absl::UnauthenticatedError("a valid bearer token is needed"));
    }
    if (exchange.role < route.role) {
      return exchange.AnswerError(absl::PermissionDeniedError(
          exchange.role == Role::kRead ? "this connection may read, not write"
                                       : "this connection may read metrics, and no more"));
    }
    if (path.size() > 2 && !sources_.devices->Has(path[2])) {
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

void Api::GetStatus(Exchange& exchange) {
  const auto status = sources_.status();
  exchange.Answer(200, status == nullptr ? "{}" : document::ToJson(*status));
}

void Api::GetMetrics(Exchange& exchange) {
  exchange.Answer(200, sources_.metrics(), "text/plain; version=0.0.4; charset=utf-8");
}

void Api::GetHistory(Exchange& exchange) {
  const auto known = CheckQuery(exchange.target(), {"from"});
  if (!known.ok()) return exchange.AnswerError(known);
  uint64_t from = 0;
  const auto it = exchange.target().query.find("from");
  if (it != exchange.target().query.end() && !absl::SimpleAtoi(it->second, &from)) {
    return exchange.AnswerError(document::AboutField(
        "from", absl::InvalidArgumentError("from: accepted: what an earlier answer gave as next")));
  }
  exchange.Answer(200, sources_.history(from));
}

void Api::GetFindings(Exchange& exchange) { exchange.Answer(200, sources_.findings()); }

void Api::GetEvents(Exchange& exchange) {
  const auto filter = ParseEventFilter(exchange.target());
  if (!filter.ok()) return exchange.AnswerError(filter.status());
  event::EventLog::Watcher watcher(sources_.events);
  // A first line at once, so that the client knows it will miss nothing from here.
  if (!exchange.BeginStream("text/event-stream") || !exchange.Write(": watching\n\n")) return;
  int quiet = 0;
  while (!exchange.stopping() && !exchange.Abandoned()) {
    std::string text = FramesOf(watcher.Read(kEventWait), *filter);
    if (text.empty() && ++quiet == kHeartbeat) text = ": still here\n\n";
    if (!text.empty()) quiet = 0;
    if (!exchange.Write(text)) return;
  }
  exchange.EndStream();
}

void Api::PostReload(Exchange& exchange) {
  if (!sources_.reload) {
    return exchange.AnswerError(501, "not_implemented", "there is no daemon to reload");
  }
  const auto needs_restart = sources_.reload();
  if (absl::IsUnavailable(needs_restart.status())) {
    return exchange.AnswerError(needs_restart.status());
  }
  if (!needs_restart.ok()) {
    const bool partly = absl::IsAborted(needs_restart.status());
    return exchange.AnswerError(422, partly ? "partly_applied" : "invalid_configuration",
                                needs_restart.status().message());
  }
  exchange.Answer(200, document::ToReloadJson(*needs_restart));
}

// --- one peer ---------------------------------------------------------------

absl::StatusOr<store::Peer> Api::Find(const Exchange& exchange,
                                      const store::Snapshot& snapshot) const {
  WICKET_ASSIGN_OR_RETURN(const PublicKey key, KeyOf(exchange));
  WICKET_ASSIGN_OR_RETURN(store::Peer peer, snapshot.FindPeer(key));
  if (peer.device != DeviceOf(exchange)) return OfAnotherDevice(peer);
  return peer;
}

std::string Api::Report(const store::Peer& peer, const store::Snapshot& snapshot) {
  return std::move(ToReports({&peer, 1}, snapshot, *sources_.devices)[0]);
}

void Api::PutPeer(Exchange& exchange) {
  const auto request = ReadPeer(exchange);
  if (!request.ok()) return exchange.AnswerError(request.status());
  const auto stored = sources_.roster->Put(*request);
  if (!stored.ok()) return exchange.AnswerError(stored.status());
  // A new peer is in no device and has no session, so neither is asked.
  if (stored->created) {
    return exchange.Answer(201, document::ToReport(stored->peer, std::nullopt, "stored"));
  }
  const auto snapshot = sources_.store->NewSnapshot();
  if (!snapshot.ok()) return exchange.AnswerError(snapshot.status());
  exchange.Answer(200, Report(stored->peer, *snapshot));
}

void Api::GetPeer(Exchange& exchange) {
  const auto snapshot = sources_.store->NewSnapshot();
  if (!snapshot.ok()) return exchange.AnswerError(snapshot.status());
  const auto peer = Find(exchange, *snapshot);
  if (!peer.ok()) return exchange.AnswerError(peer.status());
  if (const auto known = CheckQuery(exchange.target(), {"secrets"}); !known.ok()) {
    return exchange.AnswerError(known);
  }
  const auto secrets = FlagOf(exchange.target(), "secrets");
  if (!secrets.ok()) return exchange.AnswerError(secrets.status());
  if (!secrets->value_or(false)) return exchange.Answer(200, Report(*peer, *snapshot));
  if (exchange.role < Role::kWrite) {
    return exchange.AnswerError(
        absl::PermissionDeniedError("secrets are for those that may write"));
  }
  exchange.Answer(200, document::ToJsonLine(*peer));
}

void Api::GetWhy(Exchange& exchange) {
  const auto snapshot = sources_.store->NewSnapshot();
  if (!snapshot.ok()) return exchange.AnswerError(snapshot.status());
  const auto peer = Find(exchange, *snapshot);
  if (!peer.ok()) return exchange.AnswerError(peer.status());
  const Standing standing = StandingOf(*peer, *snapshot, *sources_.devices);
  const auto status = sources_.status();
  exchange.Answer(200, document::ToReasonsJson(WhyOf(*peer, standing.state, standing.session,
                                                     status.get(), WallNow())));
}

void Api::DeletePeer(Exchange& exchange) {
  const auto key = KeyOf(exchange);
  if (!key.ok()) return exchange.AnswerError(key.status());
  const absl::Status deleted = sources_.roster->Delete(DeviceOf(exchange), *key);
  if (!deleted.ok()) return exchange.AnswerError(deleted);
  exchange.Answer(204, "");
}

void Api::ResetReplay(Exchange& exchange) {
  const auto key = KeyOf(exchange);
  if (!key.ok()) return exchange.AnswerError(key.status());
  const absl::Status reset = sources_.roster->ResetReplay(DeviceOf(exchange), *key);
  if (!reset.ok()) return exchange.AnswerError(reset);
  exchange.Answer(204, "");
}

void Api::GetAddress(Exchange& exchange) {
  const auto address = ParseAddress(exchange.target().path[4]);
  if (!address) {
    return exchange.AnswerError(document::AboutField(
        "address", absl::InvalidArgumentError("address: not an IPv4 or IPv6 address")));
  }
  const auto snapshot = sources_.store->NewSnapshot();
  if (!snapshot.ok()) return exchange.AnswerError(snapshot.status());
  const auto owner = snapshot->FindAddress(DeviceOf(exchange), *address);
  if (!owner) return exchange.AnswerError(absl::NotFoundError("no peer has this address"));
  const auto peer = snapshot->FindPeer(*owner);
  if (!peer.ok()) return exchange.AnswerError(peer.status());
  exchange.Answer(200, Report(*peer, *snapshot));
}

// --- many -------------------------------------------------------------------

void Api::GetPeers(Exchange& exchange) { ListPeers(exchange, *sources_.store, *sources_.devices); }

void Api::PostImport(Exchange& exchange) { Import(exchange, *sources_.roster); }

void Api::GetExport(Exchange& exchange) { Export(exchange, *sources_.store); }

}  // namespace wicket::control
