// Peers as text: NDJSON, one peer a line, and WireGuard's own configuration files.
//
//   {"public_key": "…", "allowed_ips": ["10.0.0.2/32"], "preshared_key": "…",
//    "persistent_keepalive": 25, "expires_at": "2030-01-01T00:00:00Z",
//    "pinned": false, "labels": {"customer": "42"}, "device": "wg0"}
//
// Only public_key is required. `device` may be left out where the caller names one.
#pragma once

#include <functional>
#include <istream>
#include <string>

#include "base/status.h"
#include "store/record.h"

namespace wicket::document {

enum class Format { kNdjson, kWgConf };

// Reads peers from a stream, one at a time, in constant memory.
//
// Errors of Next() begin with "line N: " and say what was found and what is
// accepted. They never contain a key that may be secret.
class PeerReader {
 public:
  // `device` is given to every peer that does not name one; empty: each must.
  PeerReader(std::istream* input, Format format, std::string device)
      : input_(input), format_(format), device_(std::move(device)) {}

  // Returns: false at the end.
  absl::StatusOr<bool> Next(store::Peer* peer);

  uint64_t line() const { return line_; }    // of what Next() read last; from 1
  uint64_t bytes() const { return bytes_; }  // read so far

 private:
  bool ReadLine(std::string* text);
  absl::StatusOr<bool> NextJson(store::Peer* peer);
  absl::StatusOr<bool> NextSection(store::Peer* peer);
  absl::Status Error(absl::string_view message) const;

  std::istream* input_;
  Format format_;
  std::string device_;
  uint64_t line_ = 0;
  uint64_t bytes_ = 0;
  bool seen_section_ = false;
  bool in_section_ = false;  // wg.conf: a [Peer] line was read ahead
  uint64_t section_line_ = 0;
};

// Reads a line; of one longer than 1 MiB only the beginning, which no parser takes.
// Returns: false at the end.
bool ReadBoundedLine(std::istream& input, std::string* line);

// Says which format a file is by its first non-blank character.
Format DetectFormat(std::istream* input);

// What a caller wants stored: a peer, and wishes that only a running gateway can grant.
struct PeerRequest {
  store::Peer peer;
  bool has_public_key = false;
  std::string pool;  // "allocate": take an address from it; empty: do not
};
// As above, and `ttl` (seconds from `now`) in place of expires_at, and `allocate`.
// Errors: InvalidArgument, with FieldOf().
absl::StatusOr<PeerRequest> ParsePeerRequest(absl::string_view text, absl::Time now);

absl::StatusOr<store::Peer> ParsePeerJson(absl::string_view line);
// One line without its end. Secrets: contains the preshared key; this is what an export is for.
std::string ToJsonLine(const store::Peer& peer);
// A peer as the control interface shows it, without secrets. `state` is "stored",
// "probation", "established" or "leaving".
std::string ToReport(const store::Peer& peer, const std::optional<store::Session>& session,
                     absl::string_view state);
// A [Peer] section.
std::string ToConfSection(const store::Peer& peer);

}  // namespace wicket::document
