// A peer as text: a line of NDJSON, a section of a WireGuard configuration, an answer.
// peer_reader.h reads streams of them.
//
//   {"public_key": "…", "allowed_ips": ["10.0.0.2/32"], "preshared_key": "…",
//    "persistent_keepalive": 25, "expires_at": "2030-01-01T00:00:00Z",
//    "pinned": false, "quota_bytes": 5000000000, "quota_seconds": 86400,
//    "labels": {"customer": "42"}, "device": "wg0"}
//
// Only public_key is required. A line may also have `created_at`, and `ttl`, in seconds, in
// place of `expires_at`. `device` may be left out where the caller names one.
#pragma once

#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "document/peer_reader.h"  // IWYU pragma: export
#include "store/record.h"

namespace wicket::document {

// What a caller wants stored: a peer, and wishes that only a running gateway can grant.
struct PeerRequest {
  store::Peer peer;
  bool has_public_key = false;
  std::string pool;       // "allocate": take an address from it; empty: do not
  bool only_new = false;  // a stored peer is refused, not replaced
};
// Parses a line as above, without a public_key if need be, and with `allocate` if wanted.
// `now`: when `ttl` begins.
// Errors: InvalidArgument; FieldOf() names the field, unless the text is no JSON object.
absl::StatusOr<PeerRequest> ParsePeerRequest(absl::string_view text, absl::Time now);

// Parses a line as above. `ttl` begins at the time of the call.
// Errors: those of ParsePeerRequest(); InvalidArgument for `allocate`, which only wicketd
//         can grant, and for a line without a public_key.
absl::StatusOr<store::Peer> ParsePeerJson(absl::string_view line);
// One line without its end. Secrets: contains the preshared key; this is what an export is for.
// Requires: labels in UTF-8, else it is no JSON; so does ToReport().
std::string ToJsonLine(const store::Peer& peer);
// A peer as the control interface shows it, without secrets. `state` is "stored",
// "probation", "established", "leaving" or "not reached".
std::string ToReport(const store::Peer& peer, const std::optional<store::Session>& session,
                     absl::string_view state);
// A [Peer] section, with the labels that fit into a comment. It has no place for the other fields.
// Secrets: contains the preshared key.
std::string ToConfSection(const store::Peer& peer);

}  // namespace wicket::document
