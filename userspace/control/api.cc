#include "control/api.h"

#include <string.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "control/bulk.h"
#include "control/event_filter.h"
#include "control/event_stream.h"
#include "control/listing.h"
#include "control/query.h"
#include "control/why.h"
#include "document/answer_text.h"
#include "document/peer_text.h"

namespace wicket::control {

using http::Exchange;
using http::Role;

namespace {

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
  WICKET_RETURN_IF_ERROR(CheckQuery(exchange.target(), {"new"}));
  WICKET_ASSIGN_OR_RETURN(const auto only_new, FlagOf(exchange.target(), "new"));
  request->only_new = only_new.value_or(false);
  return request;
}

// How far a page of the history was read before; 0: from its beginning.
absl::StatusOr<uint64_t> FromOf(const http::Target& target) {
  uint64_t from = 0;
  const auto it = target.query.find("from");
  if (it == target.query.end() || absl::SimpleAtoi(it->second, &from)) return from;
  return document::AboutField(
      "from", absl::InvalidArgumentError("from: accepted: what an earlier answer gave as next"));
}

absl::StatusOr<Address> AddressOf(const Exchange& exchange) {
  const auto address = ParseAddress(exchange.target().path[4]);
  if (address) return *address;
  return document::AboutField("address",
                              absl::InvalidArgumentError("address: not an IPv4 or IPv6 address"));
}

absl::Status Answered(Exchange& exchange, unsigned http_status, std::string body) {
  exchange.Answer(http_status, std::move(body));
  return absl::OkStatus();
}

}  // namespace

// --- routes -----------------------------------------------------------------

struct Api::Route {
  const char* method;
  std::vector<std::string> path;  // "{}" matches any segment
  Role role;
  absl::Status (Api::*handle)(Exchange&);

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

// Returns: null when there is none for its path and method.
const Api::Route* Api::RouteOf(const Exchange& exchange) {
  for (const Route& route : Routes()) {
    if (route.Matches(exchange.target().path) && exchange.method() == route.method) return &route;
  }
  return nullptr;
}

absl::Status Api::Admit(const Route& route, const Exchange& exchange) const {
  if (exchange.role <= Role::kNone) {
    return absl::UnauthenticatedError("a valid bearer token is needed");
  }
  if (exchange.role < route.role) {
    return absl::PermissionDeniedError(exchange.role == Role::kRead
                                           ? "this connection may read, not write"
                                           : "this connection may read metrics, and no more");
  }
  const auto& path = exchange.target().path;
  if (path.size() > 2 && !sources_.devices->Has(path[2])) {
    return absl::NotFoundError(absl::StrCat("no device \"", path[2], "\" is configured"));
  }
  return absl::OkStatus();
}

void Api::AnswerNoRoute(Exchange& exchange) {
  std::string allow;
  for (const Route& route : Routes()) {
    if (!route.Matches(exchange.target().path)) continue;
    absl::StrAppend(&allow, allow.empty() ? "" : ", ", route.method);
  }
  if (allow.empty()) {
    return exchange.AnswerError(404, "not_found", "there is nothing at this path");
  }
  exchange.set_allow(allow);
  exchange.AnswerError(405, "method_not_allowed",
                       absl::StrCat("this path takes ", allow, ", not ", exchange.method()));
}

void Api::Handle(Exchange& exchange) {
  const Route* route = RouteOf(exchange);
  if (route == nullptr) return AnswerNoRoute(exchange);
  absl::Status status = Admit(*route, exchange);
  if (status.ok()) status = (this->*route->handle)(exchange);
  if (!status.ok()) exchange.AnswerError(status);
}

// --- the gateway ------------------------------------------------------------

absl::Status Api::GetStatus(Exchange& exchange) {
  const auto status = sources_.status();
  return Answered(exchange, 200, status == nullptr ? "{}" : document::ToJson(*status));
}

absl::Status Api::GetMetrics(Exchange& exchange) {
  exchange.Answer(200, sources_.metrics(), "text/plain; version=0.0.4; charset=utf-8");
  return absl::OkStatus();
}

absl::Status Api::GetHistory(Exchange& exchange) {
  WICKET_RETURN_IF_ERROR(CheckQuery(exchange.target(), {"from"}));
  WICKET_ASSIGN_OR_RETURN(const uint64_t from, FromOf(exchange.target()));
  return Answered(exchange, 200, sources_.history(from));
}

absl::Status Api::GetFindings(Exchange& exchange) {
  return Answered(exchange, 200, sources_.findings());
}

absl::Status Api::GetEvents(Exchange& exchange) {
  WICKET_ASSIGN_OR_RETURN(const EventFilter filter, ParseEventFilter(exchange.target()));
  StreamEvents(exchange, filter, *sources_.events);
  return absl::OkStatus();
}

absl::Status Api::PostReload(Exchange& exchange) {
  if (!sources_.reload) return absl::UnimplementedError("there is no daemon to reload");
  const auto needs_restart = sources_.reload();
  if (needs_restart.ok()) return Answered(exchange, 200, document::ToReloadJson(*needs_restart));
  const absl::Status& status = needs_restart.status();
  if (absl::IsUnavailable(status)) return status;
  exchange.AnswerError(422, absl::IsAborted(status) ? "partly_applied" : "invalid_configuration",
                       status.message());
  return absl::OkStatus();
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

absl::Status Api::PutPeer(Exchange& exchange) {
  WICKET_ASSIGN_OR_RETURN(const document::PeerRequest request, ReadPeer(exchange));
  WICKET_ASSIGN_OR_RETURN(const auto stored, sources_.roster->Put(request));
  // A new peer is in no device and has no session, so neither is asked.
  if (stored.created) {
    return Answered(exchange, 201, document::ToReport(stored.peer, std::nullopt, "stored"));
  }
  WICKET_ASSIGN_OR_RETURN(const store::Snapshot snapshot, sources_.store->NewSnapshot());
  return Answered(exchange, 200, Report(stored.peer, snapshot));
}

absl::Status Api::GetPeer(Exchange& exchange) {
  WICKET_RETURN_IF_ERROR(CheckQuery(exchange.target(), {"secrets"}));
  WICKET_ASSIGN_OR_RETURN(const auto secrets, FlagOf(exchange.target(), "secrets"));
  if (secrets == true && exchange.role < Role::kWrite) {
    return absl::PermissionDeniedError("secrets are for those that may write");
  }
  WICKET_ASSIGN_OR_RETURN(const store::Snapshot snapshot, sources_.store->NewSnapshot());
  WICKET_ASSIGN_OR_RETURN(const store::Peer peer, Find(exchange, snapshot));
  return Answered(exchange, 200,
                  secrets == true ? document::ToJsonLine(peer) : Report(peer, snapshot));
}

absl::Status Api::GetWhy(Exchange& exchange) {
  WICKET_ASSIGN_OR_RETURN(const store::Snapshot snapshot, sources_.store->NewSnapshot());
  WICKET_ASSIGN_OR_RETURN(const store::Peer peer, Find(exchange, snapshot));
  const Standing standing = StandingOf(peer, snapshot, *sources_.devices);
  const auto status = sources_.status();
  return Answered(
      exchange, 200,
      document::ToReasonsJson(WhyOf(peer, standing.state, standing.session, status.get(),
                                    sources_.events->LatestOf(peer.config.public_key), WallNow())));
}

absl::Status Api::DeletePeer(Exchange& exchange) {
  WICKET_ASSIGN_OR_RETURN(const PublicKey key, KeyOf(exchange));
  WICKET_RETURN_IF_ERROR(sources_.roster->Delete(DeviceOf(exchange), key));
  return Answered(exchange, 204, "");
}

absl::Status Api::ResetReplay(Exchange& exchange) {
  WICKET_ASSIGN_OR_RETURN(const PublicKey key, KeyOf(exchange));
  WICKET_RETURN_IF_ERROR(sources_.roster->ResetReplay(DeviceOf(exchange), key));
  return Answered(exchange, 204, "");
}

absl::Status Api::GetAddress(Exchange& exchange) {
  WICKET_ASSIGN_OR_RETURN(const Address address, AddressOf(exchange));
  WICKET_ASSIGN_OR_RETURN(const store::Snapshot snapshot, sources_.store->NewSnapshot());
  const auto owner = snapshot.FindAddress(DeviceOf(exchange), address);
  if (!owner) return absl::NotFoundError("no peer has this address");
  WICKET_ASSIGN_OR_RETURN(const store::Peer peer, snapshot.FindPeer(*owner));
  return Answered(exchange, 200, Report(peer, snapshot));
}

// --- many -------------------------------------------------------------------

absl::Status Api::GetPeers(Exchange& exchange) {
  return ListPeers(exchange, *sources_.store, *sources_.devices);
}

absl::Status Api::PostImport(Exchange& exchange) { return Import(exchange, *sources_.roster); }

absl::Status Api::GetExport(Exchange& exchange) { return Export(exchange, *sources_.store); }

}  // namespace wicket::control
