// What can be asked of a running gateway; docs/openapi.yaml is its reference.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "control/exchange.h"
#include "document/answer_text.h"
#include "document/peer_text.h"
#include "event/event_log.h"
#include "store/committer.h"

namespace wicket::control {

// The rest of the gateway, as the control interface needs it. By itself it is a store
// without devices: nothing is installed, so nothing there has to agree with it.
//
// Thread: any.
class Host {
 public:
  virtual ~Host() = default;
  // The document that `wicket status` shows, at most a second old.
  virtual std::string StatusJson() { return "{}"; }
  virtual bool HasDevice(absl::string_view device) {
    return !device.empty() && device.size() <= store::kDeviceNameBytesMax;
  }
  struct Installed {
    const char* state;       // "probation", "established" or "leaving"
    store::Session session;  // its counters are newer than the stored ones
  };
  virtual std::optional<Installed> Find(absl::string_view /*device*/, const PublicKey& /*key*/) {
    return std::nullopt;
  }
  // Installed peers after `after` in key order, at most `count`.
  virtual std::vector<PublicKey> ListInstalled(absl::string_view /*device*/,
                                               const std::optional<PublicKey>& /*after*/,
                                               size_t /*count*/) {
    return {};
  }
  // Makes the device agree with the store about the peer, if it is installed:
  // removed when it is not stored, updated when it is.
  // Requires: what the store says of it is committed. No handshake that began
  //           before then puts it back.
  virtual absl::Status Sync(absl::string_view /*device*/, const PublicKey& /*key*/) {
    return absl::OkStatus();
  }
  // Forgets the replay mark of an installed peer too.
  virtual void ForgetMark(absl::string_view /*device*/, const PublicKey& /*key*/) {}
};

// A named range that addresses are allocated from.
struct Pool {
  std::string device;
  std::vector<Prefix> ipv4, ipv6;  // one address is taken from each that is not empty
};

// Thread: Handle from any number of connections at once. Nothing is owned.
class Api {
 public:
  Api(Host* host, const store::Store* store, store::Committer* committer, event::EventLog* events,
      std::map<std::string, Pool> pools)
      : host_(host),
        store_(store),
        committer_(committer),
        events_(events),
        pools_(std::move(pools)) {}

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
  absl::Status CommitRetrying(const store::Committer::Change& change);

  Host* host_;
  const store::Store* store_;
  store::Committer* committer_;
  event::EventLog* events_;
  std::map<std::string, Pool> pools_;
};

}  // namespace wicket::control
