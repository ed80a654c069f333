// What can be asked of a running gateway; docs/openapi.yaml is its reference.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/status.h"
#include "document/status_text.h"
#include "event/event_log.h"
#include "http/exchange.h"
#include "roster/roster.h"
#include "store/store.h"

namespace wicket::control {

// Reads the configuration again and applies it.
// Returns: the settings whose change waits for a restart, by their names in the file.
// Errors:  each problem on a line, as `wicketd --check` prints it, and nothing was applied;
//          Aborted: a setting that cannot be had here, and all others were applied, but for those
//          that wait for a restart; Unavailable: it may be under way still, or the gateway stops.
using Reload = std::function<absl::StatusOr<std::vector<std::string>>()>;

// What the answers come from. Nothing is owned.
struct Sources {
  roster::Roster* roster;
  roster::Devices* devices;
  const store::Store* store;
  event::EventLog* events;
  // The latest status; null: there is no daemon.
  std::function<std::shared_ptr<const document::Status>()> status = [] { return nullptr; };
  std::function<std::string()> metrics = [] { return ""; };  // the same for Prometheus
  // report::History::ToJson, and report::ToJson of what a look at the machine found.
  std::function<std::string(uint64_t)> history = [](uint64_t) { return "{}"; };
  std::function<std::string()> findings = [] { return "{}"; };
  Reload reload = nullptr;  // empty: there is no daemon
};

// Thread: Handle from any number of connections at once.
class Api {
 public:
  explicit Api(Sources sources) : sources_(std::move(sources)) {}

  // Gives exactly one answer, whatever was asked.
  void Handle(http::Exchange& exchange);

 private:
  struct Route;
  static const std::vector<Route>& Routes();
  static const Route* RouteOf(const http::Exchange& exchange);
  static void AnswerNoRoute(http::Exchange& exchange);
  absl::Status Admit(const Route& route, const http::Exchange& exchange) const;

  // Each answers, or returns the error to answer with.
  absl::Status GetStatus(http::Exchange& exchange);
  absl::Status GetMetrics(http::Exchange& exchange);
  absl::Status GetHistory(http::Exchange& exchange);
  absl::Status GetFindings(http::Exchange& exchange);
  absl::Status GetEvents(http::Exchange& exchange);
  absl::Status PostReload(http::Exchange& exchange);
  absl::Status GetPeers(http::Exchange& exchange);
  absl::Status PutPeer(http::Exchange& exchange);
  absl::Status GetPeer(http::Exchange& exchange);
  absl::Status GetWhy(http::Exchange& exchange);
  absl::Status DeletePeer(http::Exchange& exchange);
  absl::Status ResetReplay(http::Exchange& exchange);
  absl::Status GetAddress(http::Exchange& exchange);
  absl::Status PostImport(http::Exchange& exchange);
  absl::Status GetExport(http::Exchange& exchange);

  // The peer of the path. Errors: also when it is stored for another device than the path's.
  absl::StatusOr<store::Peer> Find(const http::Exchange& exchange,
                                   const store::Snapshot& snapshot) const;
  std::string Report(const store::Peer& peer, const store::Snapshot& snapshot);

  const Sources sources_;
};

}  // namespace wicket::control
