// What can be asked of a running gateway; docs/openapi.yaml is its reference.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "http/exchange.h"
#include "document/answer_text.h"
#include "document/peer_text.h"
#include "event/event_log.h"
#include "roster/devices.h"
#include "store/committer.h"

namespace wicket::control {

using http::Exchange;

// A named range that addresses are allocated from.
struct Pool {
  std::string device;
  std::vector<Prefix> ipv4, ipv6;  // one address is taken from each that is not empty
};

// Thread: Handle from any number of connections at once. Nothing is owned.
class Api {
 public:
  Api(
      roster::Devices* devices, const store::Store* store, store::Committer* committer,
      event::EventLog* events, std::map<std::string, Pool> pools,
      std::function<std::string()> status = [] { return "{}"; })
      : devices_(devices),
        store_(store),
        committer_(committer),
        events_(events),
        pools_(std::move(pools)),
        status_(std::move(status)) {}

  // Gives exactly one answer, whatever was asked.
  void Handle(Exchange& exchange);

 private:
  struct Route;
  struct Stored {
    store::Peer peer;
    bool created = false;
  };
  static const std::vector<Route>& Routes();

  void GetStatus(Exchange& exchange);
  void GetEvents(Exchange& exchange);
  void ListPeers(Exchange& exchange);
  void PutPeer(Exchange& exchange);
  void GetPeer(Exchange& exchange);
  void DeletePeer(Exchange& exchange);
  void ResetReplay(Exchange& exchange);
  void GetAddress(Exchange& exchange);
  void Import(Exchange& exchange);
  void Export(Exchange& exchange);

  absl::StatusOr<PublicKey> KeyOf(const Exchange& exchange) const;
  absl::StatusOr<const Pool*> PoolOf(const document::PeerRequest& request) const;
  absl::Status PutInto(store::Writer& writer, const document::PeerRequest& request,
                       const Pool* pool, Stored* stored) const;
  std::string Report(const store::Peer& peer, const store::Snapshot& snapshot);
  void Note(event::Kind kind, const store::Peer& peer);
  absl::Status SyncOne(const std::string& device, const PublicKey& key);
  absl::Status CommitRetrying(const store::Committer::Change& change);

  roster::Devices* devices_;
  const store::Store* store_;
  store::Committer* committer_;
  event::EventLog* events_;
  std::map<std::string, Pool> pools_;
  std::function<std::string()> status_;  // the document that `wicket status` shows
};

}  // namespace wicket::control
