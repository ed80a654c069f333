// The bearer tokens, by their SHA-256: who can read the file cannot use them.
//
// A line each, "NAME ROLE SHA256"; ROLE is metrics, read or write, SHA256 lower-case hexadecimal. A
// line that begins with # is a comment.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/status.h"
#include "http/exchange.h"

namespace wicket::edge {

// Thread: any; it is not changed.
class Tokens {
 public:
  // Errors: name the file, the line, and what is wrong with it; FailedPrecondition when others may
  //         read or write the file, or its group may write it.
  static absl::StatusOr<Tokens> Load(const std::string& path);
  static absl::StatusOr<Tokens> Parse(absl::string_view text, const std::string& name);

  // Cost: the same for any token of the same length.
  http::Role Find(absl::string_view token) const;
  // Of an Authorization header; kNone unless it is "Bearer TOKEN".
  http::Role FindBearer(absl::string_view authorization) const;
  bool empty() const { return entries_.empty(); }

 private:
  using Digest = std::array<uint8_t, 32>;
  struct Entry {
    Digest digest;
    http::Role role;
  };

  static Digest DigestOf(absl::string_view token);

  std::vector<Entry> entries_;

  friend absl::StatusOr<std::pair<std::string, std::string>> MakeToken(absl::string_view name,
                                                                       absl::string_view role);
};

// Returns: a new token, and its line for the file. Errors: InvalidArgument for a name that is not
//          one word without #, or another role; Internal without random bytes.
absl::StatusOr<std::pair<std::string, std::string>> MakeToken(absl::string_view name,
                                                              absl::string_view role);

}  // namespace wicket::edge
