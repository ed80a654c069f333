#include "document/peer_text.h"

#include <boost/json.hpp>
#include <limits>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "document/answer_text.h"
#include "document/peer_fields.h"

namespace wicket::document {
namespace {

namespace json = boost::json;

constexpr int64_t kTtlMax_s = 100LL * 366 * 86400;

absl::string_view KindName(const json::value& value) {
  switch (value.kind()) {
    case json::kind::null:
      return "null";
    case json::kind::bool_:
      return "a boolean";
    case json::kind::string:
      return "a string";
    case json::kind::array:
      return "an array";
    case json::kind::object:
      return "an object";
    default:
      return "a number";
  }
}

absl::StatusOr<absl::string_view> StringOf(absl::string_view field, const json::value& value) {
  if (!value.is_string()) return Invalid(field, KindName(value), "a string");
  return absl::string_view(value.get_string().data(), value.get_string().size());
}

absl::Status ReadTime(absl::string_view field, absl::string_view text, absl::Time* time) {
  std::string error;
  if (!absl::ParseTime(absl::RFC3339_full, text, time, &error)) {
    return Invalid(field, Quoted(text), "RFC 3339, such as 2030-01-01T00:00:00Z");
  }
  if (*time < absl::UnixEpoch() || *time == absl::InfiniteFuture()) {
    return Invalid(field, Quoted(text), "a time from 1970 on");
  }
  *time = absl::FromUnixSeconds(absl::ToUnixSeconds(*time));
  return absl::OkStatus();
}

absl::Status ReadQuota(absl::string_view name, const json::value& value, store::Quota* quota) {
  const bool is_period = name == "quota_seconds";
  const int64_t least = is_period ? absl::ToInt64Seconds(store::Quota::kPeriodMin) : 0;
  const int64_t most = is_period ? absl::ToInt64Seconds(store::Quota::kPeriodMax)
                                 : std::numeric_limits<int64_t>::max();
  if (!value.is_int64() || value.get_int64() < least || value.get_int64() > most) {
    return Invalid(name, value.is_int64() ? absl::StrCat(value.get_int64()) : KindName(value),
                   is_period ? absl::StrCat(least, " to ", most, " seconds")
                             : "a number of bytes; 0 is no quota");
  }
  if (is_period) {
    quota->period = absl::Seconds(value.get_int64());
  } else {
    quota->bytes = static_cast<uint64_t>(value.get_int64());
  }
  return absl::OkStatus();
}

absl::Status ReadField(absl::string_view name, const json::value& value, store::Peer* peer) {
  if (name == "public_key") {
    WICKET_ASSIGN_OR_RETURN(const absl::string_view text, StringOf(name, value));
    return ReadPublicKey(text, &peer->config);
  }
  if (name == "preshared_key") {
    WICKET_ASSIGN_OR_RETURN(const absl::string_view text, StringOf(name, value));
    return ReadPresharedKey(text, &peer->config);
  }
  if (name == "allowed_ips") {
    if (!value.is_array()) return Invalid(name, KindName(value), "an array of strings");
    for (const json::value& item : value.get_array()) {
      WICKET_ASSIGN_OR_RETURN(const absl::string_view text, StringOf(name, item));
      WICKET_RETURN_IF_ERROR(ReadAllowedIp(text, &peer->config));
    }
    return absl::OkStatus();
  }
  if (name == "persistent_keepalive") {
    if (!value.is_int64()) return Invalid(name, KindName(value), "0 to 65535 seconds");
    return ReadKeepalive(value.get_int64(), &peer->config);
  }
  if (name == "created_at" || name == "expires_at") {
    WICKET_ASSIGN_OR_RETURN(const absl::string_view text, StringOf(name, value));
    return ReadTime(name, text, name == "created_at" ? &peer->created : &peer->expires);
  }
  if (name == "pinned") {
    if (!value.is_bool()) return Invalid(name, KindName(value), "true or false");
    peer->pinned = value.get_bool();
    return absl::OkStatus();
  }
  if (name == "quota_bytes" || name == "quota_seconds") {
    return ReadQuota(name, value, &peer->quota);
  }
  if (name == "device") {
    WICKET_ASSIGN_OR_RETURN(const absl::string_view text, StringOf(name, value));
    peer->device = std::string(text);
    return absl::OkStatus();
  }
  if (name == "labels") {
    if (!value.is_object()) return Invalid(name, KindName(value), "an object of strings");
    for (const auto& label : value.get_object()) {
      WICKET_ASSIGN_OR_RETURN(const absl::string_view text, StringOf(name, label.value()));
      peer->labels.emplace_back(std::string(label.key()), std::string(text));
    }
    return absl::OkStatus();
  }
  return AboutField(name,
                    absl::InvalidArgumentError(absl::StrCat(
                        "unknown field ", Quoted(name),
                        "; accepted: public_key, allowed_ips, preshared_key, persistent_keepalive, "
                        "expires_at, ttl, created_at, pinned, quota_bytes, quota_seconds, labels, "
                        "device; through wicketd also allocate")));
}

// Reads what is of a request and not of a peer: `ttl` and `allocate`. Returns: false for others.
absl::StatusOr<bool> ReadWish(absl::string_view name, const json::value& value, absl::Time now,
                              PeerRequest* request) {
  if (name == "ttl") {
    if (!value.is_int64() || value.get_int64() < 1 || value.get_int64() > kTtlMax_s) {
      return Invalid(name, value.is_int64() ? absl::StrCat(value.get_int64()) : KindName(value),
                     absl::StrCat("1 to ", kTtlMax_s, " seconds"));
    }
    request->peer.expires = now + absl::Seconds(value.get_int64());
    return true;
  }
  if (name == "allocate") {
    WICKET_ASSIGN_OR_RETURN(const absl::string_view text, StringOf(name, value));
    if (text.empty()) return Invalid(name, "\"\"", "a pool's name");
    request->pool = std::string(text);
    return true;
  }
  return false;
}

}  // namespace

absl::StatusOr<PeerRequest> ParsePeerRequest(absl::string_view text, absl::Time now) {
  json::error_code error;
  json::monotonic_resource resource;  // one arena a line
  const json::value value =
      json::parse(json::string_view(text.data(), text.size()), error, &resource);
  if (error) return absl::InvalidArgumentError(absl::StrCat("not JSON: ", error.message()));
  if (!value.is_object()) return Invalid("a peer", KindName(value), "an object");
  PeerRequest request;
  for (const auto& field : value.get_object()) {
    const absl::string_view name(field.key().data(), field.key().size());
    WICKET_ASSIGN_OR_RETURN(const bool taken, ReadWish(name, field.value(), now, &request));
    if (!taken) WICKET_RETURN_IF_ERROR(ReadField(name, field.value(), &request.peer));
  }
  request.has_public_key = value.get_object().contains("public_key");
  if (value.get_object().contains("ttl") && value.get_object().contains("expires_at")) {
    return Invalid("ttl", "expires_at beside it", "one of the two");
  }
  return request;
}

absl::StatusOr<store::Peer> ParsePeerJson(absl::string_view line) {
  WICKET_ASSIGN_OR_RETURN(PeerRequest request, ParsePeerRequest(line, WallNow()));
  if (!request.pool.empty()) {
    return AboutField(
        "allocate", absl::InvalidArgumentError("allocate: only a running wicketd knows the pools"));
  }
  if (!request.has_public_key) {
    return AboutField("public_key", absl::InvalidArgumentError("public_key is missing"));
  }
  return std::move(request.peer);
}

namespace {

std::string Rfc3339(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

// All but the preshared key.
json::object ToObject(const store::Peer& peer) {
  json::object object;
  object["public_key"] = ToBase64(peer.config.public_key);
  object["device"] = peer.device;
  json::array allowed_ips;
  for (const Prefix& prefix : peer.config.allowed_ips) {
    allowed_ips.emplace_back(ToString(prefix));
  }
  object["allowed_ips"] = std::move(allowed_ips);
  if (peer.config.persistent_keepalive_s) {
    object["persistent_keepalive"] = peer.config.persistent_keepalive_s;
  }
  if (peer.created != absl::UnixEpoch()) object["created_at"] = Rfc3339(peer.created);
  if (peer.expires != absl::InfiniteFuture()) object["expires_at"] = Rfc3339(peer.expires);
  if (peer.pinned) object["pinned"] = true;
  if (peer.quota.limits()) {
    object["quota_bytes"] = peer.quota.bytes;
    object["quota_seconds"] = absl::ToInt64Seconds(peer.quota.period);
  }
  if (!peer.labels.empty()) {
    json::object labels;
    for (const auto& [name, text] : peer.labels) labels[name] = text;
    object["labels"] = std::move(labels);
  }
  return object;
}

}  // namespace

std::string ToJsonLine(const store::Peer& peer) {
  json::object object = ToObject(peer);
  if (peer.config.preshared_key) {
    object["preshared_key"] = RevealBase64(*peer.config.preshared_key);
  }
  return json::serialize(object);
}

std::string ToReport(const store::Peer& peer, const std::optional<store::Session>& session,
                     absl::string_view state) {
  json::object object = ToObject(peer);
  object["has_preshared_key"] = peer.config.preshared_key.has_value();
  object["state"] = json::string_view(state.data(), state.size());
  if (session) {
    json::object& out = object["session"].emplace_object();
    if (session->last_handshake != absl::UnixEpoch()) {
      out["last_handshake_at"] = Rfc3339(session->last_handshake);
    }
    if (session->endpoint.address.family != Family::kNone) {
      out["endpoint"] = ToString(session->endpoint);
    }
    out["handshakes"] = session->handshakes;
    out["installs"] = session->installs;
    out["received_bytes"] = session->received_bytes;
    out["sent_bytes"] = session->sent_bytes;
    if (peer.quota.limits()) {
      out["quota_used_bytes"] = store::UsedOf(peer.quota, *session, WallNow());
    }
  }
  return json::serialize(object);
}

std::string ToConfSection(const store::Peer& peer) {
  std::string out = "[Peer]\n";
  for (const auto& [name, text] : peer.labels) {
    if (absl::StrContains(name, '=') || absl::StrContains(text, '\n')) continue;
    absl::StrAppend(&out, "# ", name, " = ", text, "\n");
  }
  absl::StrAppend(&out, "PublicKey = ", ToBase64(peer.config.public_key), "\n");
  if (peer.config.preshared_key) {
    absl::StrAppend(&out, "PresharedKey = ", RevealBase64(*peer.config.preshared_key), "\n");
  }
  if (!peer.config.allowed_ips.empty()) {
    absl::StrAppend(&out, "AllowedIPs = ");
    absl::string_view separator = "";
    for (const Prefix& prefix : peer.config.allowed_ips) {
      absl::StrAppend(&out, separator, ToString(prefix));
      separator = ", ";
    }
    out += "\n";
  }
  if (peer.config.persistent_keepalive_s) {
    absl::StrAppend(&out, "PersistentKeepalive = ", peer.config.persistent_keepalive_s, "\n");
  }
  return out;
}

}  // namespace wicket::document
