// Lists of peers, a page at a time.
//
// What is installed only the device's thread knows, and newcomers wait while it answers. So a
// page asks it about a set of keys, and never about one peer after the other.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "http/exchange.h"
#include "roster/devices.h"
#include "store/store.h"

namespace wicket::control {

inline constexpr size_t kPageDefault = 100;
inline constexpr size_t kPageMax = 1000;
inline constexpr size_t kEntriesMax = 20'000;  // of an index, read for one page

// What a listing's query asks for.
struct Page {
  store::Selection selection;
  std::optional<bool> installed, expired;
  size_t limit = kPageDefault;  // 1 to kPageMax
  std::string cursor;           // where the last page ended; empty: at the beginning
  absl::Time now;

  // What the selection does not say. `installed` is the device's to answer.
  bool Admits(const store::Peer& peer) const { return expired != false || peer.expires > now; }
};
// Errors: InvalidArgument, with FieldOf().
absl::StatusOr<Page> ParsePage(const http::Target& target, absl::Time now);

// GET .../peers.
// Errors: nothing was answered; InvalidArgument, with FieldOf(); Unavailable: the query has
//         `installed`, and the device's thread does not answer.
absl::Status ListPeers(http::Exchange& exchange, const store::Store& store,
                       roster::Devices& devices);

// The state of a peer whose device's thread did not answer.
inline constexpr char kNotReached[] = "not reached";

// What is known of a peer beside its record.
struct Standing {
  std::string state = "stored";  // or as roster::Installed, or kNotReached
  std::optional<store::Session> session;
};
// Of one peer; its session is the stored one where the device was not reached.
Standing StandingOf(const store::Peer& peer, const store::Snapshot& snapshot,
                    roster::Devices& devices);

// Peers of one device as answers show them. When the device's thread does not answer, their state
// is kNotReached, and their sessions are the stored ones.
std::vector<std::string> ToReports(std::span<const store::Peer> peers,
                                   const store::Snapshot& snapshot, roster::Devices& devices);

}  // namespace wicket::control
