#include "document/peer_fields.h"

#include <boost/json.hpp>

#include "absl/strings/str_cat.h"
#include "document/answer_text.h"

namespace wicket::document {

std::string Utf8Of(absl::string_view text) {
  boost::json::error_code error;
  boost::json::parse(boost::json::serialize(boost::json::string(text.data(), text.size())), error);
  std::string out(text);
  if (!error) return out;
  for (char& c : out) {
    if (static_cast<unsigned char>(c) >= 0x80) c = '?';
  }
  return out;
}

std::string Quoted(absl::string_view text) {
  constexpr size_t kShown = 60;
  return text.size() <= kShown ? absl::StrCat("\"", text, "\"")
                               : absl::StrCat("\"", text.substr(0, kShown), "…\"");
}

absl::Status Invalid(absl::string_view field, absl::string_view found, absl::string_view accepted) {
  return AboutField(field, absl::InvalidArgumentError(
                               absl::StrCat(field, ": found ", found, "; accepted: ", accepted)));
}

absl::Status ReadPublicKey(absl::string_view text, PeerConfig* config) {
  const auto key = ParsePublicKey(text);
  if (!key) return Invalid("public_key", Quoted(text), "44 characters of base64 (32 bytes)");
  config->public_key = *key;
  return absl::OkStatus();
}

absl::Status ReadPresharedKey(absl::string_view text, PeerConfig* config) {
  auto key = ParseSecretKey(text);
  if (!key) {
    return Invalid("preshared_key", absl::StrCat(text.size(), " characters (not shown)"),
                   "44 characters of base64 (32 bytes)");
  }
  config->preshared_key = std::move(*key);
  return absl::OkStatus();
}

absl::Status ReadAllowedIp(absl::string_view text, PeerConfig* config) {
  const auto prefix = ParsePrefix(text);
  if (!prefix) return Invalid("allowed_ips", Quoted(text), "an address, or address/length");
  config->allowed_ips.push_back(*prefix);
  return absl::OkStatus();
}

absl::Status ReadKeepalive(int64_t seconds, PeerConfig* config) {
  if (seconds < 0 || seconds > 65535) {
    return Invalid("persistent_keepalive", absl::StrCat(seconds), "0 to 65535 seconds");
  }
  config->persistent_keepalive_s = static_cast<uint16_t>(seconds);
  return absl::OkStatus();
}

}  // namespace wicket::document
