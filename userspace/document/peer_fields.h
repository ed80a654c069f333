// The fields of a peer that both formats have, read from their text. For this module's sources
// only.
#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "base/peer.h"
#include "base/status.h"

namespace wicket::document {

// As it is when it is UTF-8, as JSON must be; otherwise with "?" for each byte from 0x80 on.
std::string Utf8Of(absl::string_view text);

// `text` in quotes; of a long one the beginning.
std::string Quoted(absl::string_view text);

// "FIELD: found FOUND; accepted: ACCEPTED", about that field.
absl::Status Invalid(absl::string_view field, absl::string_view found, absl::string_view accepted);

// Each sets its field of `config`; ReadAllowedIp() appends to it.
// Errors: Invalid(); `config` is as it was. Of a preshared key only the length is shown.
absl::Status ReadPublicKey(absl::string_view text, PeerConfig* config);
absl::Status ReadPresharedKey(absl::string_view text, PeerConfig* config);
absl::Status ReadAllowedIp(absl::string_view text, PeerConfig* config);
absl::Status ReadKeepalive(int64_t seconds, PeerConfig* config);

}  // namespace wicket::document
