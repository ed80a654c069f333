// A stream of peers: NDJSON, one peer a line, or a WireGuard configuration, one peer a section.
#pragma once

#include <cstdint>
#include <istream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "store/record.h"

namespace wicket::document {

enum class Format {
  kAuto,  // NDJSON when the first character that is not white space is a brace, or there is none
  kNdjson,
  kWgConf
};

// Reads peers from a stream, one at a time, in the memory of one.
//
// Errors of Next() begin with "line N: " and say what is wrong. They never contain a key that may
// be secret.
class PeerReader {
 public:
  // `device` is given to every peer that does not name one; empty: each must.
  PeerReader(std::istream* input, Format format, std::string device)
      : input_(input), format_(format), device_(std::move(device)) {}

  // Returns: false at the end.
  // Errors:  InvalidArgument. After one, NDJSON goes on with the next line; a WireGuard
  //          configuration cannot be read any further. A failed read of the stream is none: it is
  //          thrown, or looks like the end, and bad() may not tell.
  absl::StatusOr<bool> Next(store::Peer* peer);

  Format format() const { return format_; }  // kAuto until the first Next()
  uint64_t line() const { return line_; }    // of what Next() read last; from 1
  // Where the peer begins that Next() gave last: its line, or that of its [Peer].
  uint64_t peer_line() const { return format_ == Format::kNdjson ? line_ : peer_line_; }
  uint64_t bytes() const { return bytes_; }  // read so far, about

 private:
  void DetectFormat();
  bool ReadLine(std::string* text);
  absl::StatusOr<bool> NextJson(store::Peer* peer);
  absl::StatusOr<bool> NextSection(store::Peer* peer);
  void TakeComments(store::Peer* peer);
  absl::Status EndSection(uint64_t begun, bool has_key) const;
  absl::Status Error(absl::string_view message) const;

  std::istream* input_;
  Format format_;
  std::string device_;
  uint64_t line_ = 0;
  uint64_t bytes_ = 0;
  bool seen_section_ = false;
  uint64_t peer_line_ = 0;   // wg.conf: of the last peer given
  uint64_t peer_begun_ = 0;  // wg.conf: the line of the [Peer] that is being read; 0: none is
  // wg.conf: comments whose peer is not known yet. Those right above a [Peer] are of that one.
  std::vector<std::string> comments_;
};

inline constexpr size_t kLineBytesMax = 1 << 20;

// Reads a line; of one longer than kLineBytesMax only the beginning, and one byte more. The caller
// refuses it for that size: its beginning may be a whole peer.
// Returns: false at the end, which a failed read may look like.
bool ReadBoundedLine(std::istream& input, std::string* line);

}  // namespace wicket::document
