#include "tools/wicket/peer_view.h"

#include <iostream>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/clock.h"
#include "tools/wicket/text.h"

namespace wicket::tools {

namespace json = boost::json;

namespace {

void PrintLine(const char* name, const std::string& value) {
  std::cout << "  " << Bold(name) << ": " << value << "\n";
}

// What a peer's device last told of it; empty before its first session.
const json::object& SessionOf(const json::object& peer) {
  static const json::object none;
  const auto* session = peer.if_contains("session");
  return session ? session->get_object() : none;
}

void PrintAsWg(const json::object& peer, const json::object& session) {
  if (peer.at("has_preshared_key").as_bool()) PrintLine("preshared key", "(hidden)");
  if (const std::string endpoint = TextOf(session, "endpoint"); !endpoint.empty()) {
    PrintLine("endpoint", endpoint);
  }
  PrintLine("allowed ips", AllowedIpsOf(peer));
  if (session.contains("last_handshake_at")) {
    PrintLine("latest handshake", Ago(WallNow() - TimeOf(session, "last_handshake_at")));
  }
  if (NumberOf(session, "received_bytes") + NumberOf(session, "sent_bytes") > 0) {
    PrintLine("transfer",
              absl::StrCat(Size(static_cast<uint64_t>(NumberOf(session, "received_bytes"))),
                           " received, ",
                           Size(static_cast<uint64_t>(NumberOf(session, "sent_bytes"))), " sent"));
  }
  if (const int64_t seconds = NumberOf(peer, "persistent_keepalive")) {
    PrintLine("persistent keepalive",
              absl::StrCat("every ", seconds, seconds == 1 ? " second" : " seconds"));
  }
}

void PrintWicketsOwn(const json::object& peer, const json::object& session) {
  PrintLine("device", TextOf(peer, "device"));
  PrintLine("state", TextOf(peer, "state"));
  if (peer.contains("session")) {
    PrintLine("handshakes", absl::StrCat(NumberOf(session, "handshakes"), " in ",
                                         NumberOf(session, "installs"), " installations"));
  }
  if (peer.contains("expires_at")) PrintLine("expires", TextOf(peer, "expires_at"));
  if (const auto* quota = peer.if_contains("quota_bytes")) {
    const auto* used = session.if_contains("quota_used_bytes");
    PrintLine("quota", absl::StrCat(Size(used ? used->to_number<uint64_t>() : 0), " of ",
                                    Size(quota->to_number<uint64_t>()), " in ",
                                    peer.at("quota_seconds").to_number<uint64_t>(), " s"));
  }
  if (peer.contains("pinned")) PrintLine("pinned", "yes");
  if (const auto* labels = peer.if_contains("labels")) {
    for (const auto& label : labels->get_object()) {
      PrintLine("label", absl::StrCat(std::string(label.key()), " = ",
                                      std::string(label.value().as_string())));
    }
  }
}

}  // namespace

std::string TextOf(const json::object& object, const char* name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : "";
}

int64_t NumberOf(const json::object& object, const char* name) {
  const auto* value = object.if_contains(name);
  return value && value->is_number() ? value->to_number<int64_t>() : 0;
}

absl::Time TimeOf(const json::object& object, const char* name) {
  absl::Time time = absl::InfinitePast();
  std::string ignored;
  absl::ParseTime(absl::RFC3339_full, TextOf(object, name), &time, &ignored);
  return time;
}

std::string AllowedIpsOf(const json::object& peer) {
  std::vector<std::string> prefixes;
  for (const auto& prefix : peer.at("allowed_ips").as_array()) {
    prefixes.emplace_back(prefix.as_string());
  }
  return prefixes.empty() ? "(none)" : absl::StrJoin(prefixes, ", ");
}

bool Expired(const json::object& peer) {
  return peer.contains("expires_at") && TimeOf(peer, "expires_at") <= WallNow();
}

void PrintPeer(const json::object& peer) {
  const json::object& session = SessionOf(peer);
  std::cout << Heading("peer", true) << ": " << Heading(TextOf(peer, "public_key"), true) << "\n";
  PrintAsWg(peer, session);
  PrintWicketsOwn(peer, session);
}

void PrintDumpLine(const json::object& peer, const std::string& preshared_key) {
  const json::object& session = SessionOf(peer);
  const std::string endpoint = TextOf(session, "endpoint");
  std::string allowed_ips = AllowedIpsOf(peer);
  allowed_ips = absl::StrJoin(absl::StrSplit(allowed_ips, ", "), ",");
  const int64_t keepalive = NumberOf(peer, "persistent_keepalive");
  const absl::Time handshake = TimeOf(session, "last_handshake_at");
  absl::PrintF("%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", TextOf(peer, "device"),
               TextOf(peer, "public_key"), preshared_key.empty() ? "(none)" : preshared_key,
               endpoint.empty() ? "(none)" : endpoint, allowed_ips,
               handshake == absl::InfinitePast() ? 0 : absl::ToUnixSeconds(handshake),
               NumberOf(session, "received_bytes"), NumberOf(session, "sent_bytes"),
               keepalive ? absl::StrCat(keepalive) : "off");
}

}  // namespace wicket::tools
