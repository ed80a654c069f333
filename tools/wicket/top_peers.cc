#include "tools/wicket/top_peers.h"

#include <algorithm>
#include <boost/json.hpp>
#include <string_view>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "tools/wicket/peer_view.h"
#include "tools/wicket/text.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

constexpr const char* kColumnNames[] = {"handshake", "received", "sent", "key", "state"};

std::string AgeOf(absl::Time since) {
  if (since == absl::InfinitePast()) return "-";
  return absl::FormatDuration(absl::Floor(WallNow() - since, absl::Seconds(1)));
}

}  // namespace

void TopPeers::Refresh(Connection& connection, const document::Status& status) {
  std::vector<Peer> peers;
  installed_ = 0;
  for (const document::DeviceStatus& device : status.devices) {
    installed_ += device.installed;
    const auto answer = connection.Call(
        "GET", PathOf(device.name, absl::StrCat("/peers?installed=true&limit=", kOfADevice)));
    json::error_code error;
    const json::value page = answer.ok() ? json::parse(answer->text, error) : json::value();
    if (error || !page.is_object() || !page.get_object().contains("peers")) continue;
    for (const json::value& value : page.at("peers").as_array()) {
      const json::object& object = value.as_object();
      Peer peer{.key = TextOf(object, "public_key"),
                .device = device.name,
                .state = TextOf(object, "state")};
      if (const json::value* labels = object.if_contains("labels")) {
        for (const auto& [name, text] : labels->as_object()) {
          absl::StrAppend(&peer.labels, peer.labels.empty() ? "" : " ", std::string(name), "=",
                          std::string(text.as_string()));
        }
      }
      if (const json::value* prefixes = object.if_contains("allowed_ips")) {
        for (const json::value& prefix : prefixes->as_array()) {
          absl::StrAppend(&peer.allowed_ips, peer.allowed_ips.empty() ? "" : " ",
                          std::string(prefix.as_string()));
        }
      }
      if (const json::value* found = object.if_contains("session")) {
        const json::object& session = found->as_object();
        peer.endpoint = TextOf(session, "endpoint");
        peer.received = static_cast<uint64_t>(NumberOf(session, "received_bytes"));
        peer.sent = static_cast<uint64_t>(NumberOf(session, "sent_bytes"));
        peer.last_handshake = TimeOf(session, "last_handshake_at");
      }
      peers.push_back(std::move(peer));
    }
  }
  peers_ = std::move(peers);
  installed_ = std::max(installed_, peers_.size());  // the status is the older of the two
}

void TopPeers::SortByNext() {
  column_ = static_cast<Column>((static_cast<size_t>(column_) + 1) % std::size(kColumnNames));
  first_ = 0;
}

void TopPeers::Scroll(int lines) {
  const auto to = static_cast<int64_t>(first_) + lines;
  first_ = static_cast<size_t>(std::max<int64_t>(0, to));
}

bool TopPeers::Before(const Peer& a, const Peer& b) const {
  switch (column_) {
    case Column::kHandshake:
      return std::tie(a.last_handshake, a.key) < std::tie(b.last_handshake, b.key);
    case Column::kReceived:
      return std::tie(a.received, a.key) < std::tie(b.received, b.key);
    case Column::kSent:
      return std::tie(a.sent, a.key) < std::tie(b.sent, b.key);
    case Column::kKey:
      return a.key < b.key;
    case Column::kState:
      return std::tie(a.state, a.key) < std::tie(b.state, b.key);
  }
  return false;
}

std::vector<std::string> TopPeers::Lines(size_t count) {
  std::vector<const Peer*> shown;
  for (const Peer& peer : peers_) {
    const bool matches = filter.empty() || absl::StrContains(peer.key, filter) ||
                         absl::StrContains(peer.endpoint, filter) ||
                         absl::StrContains(peer.labels, filter) ||
                         absl::StrContains(peer.allowed_ips, filter);
    if (matches) shown.push_back(&peer);
  }
  std::sort(shown.begin(), shown.end(), [this](const Peer* a, const Peer* b) {
    return descending_ ? Before(*b, *a) : Before(*a, *b);
  });
  std::vector<std::string> lines;
  lines.push_back(absl::StrFormat(
      "%d of %d installed peers%s%s, by %s%s", shown.size(), installed_,
      peers_.size() < installed_ ? absl::StrCat(" (of the first ", peers_.size(), ")") : "",
      filter.empty() ? "" : absl::StrCat(" with \"", filter, "\""),
      kColumnNames[static_cast<size_t>(column_)], descending_ ? ", the largest first" : ""));
  lines.push_back(absl::StrFormat("%-8s %-11s %11s %11s %9s  %-21s %s", "PEER", "STATE", "RECEIVED",
                                  "SENT", "HANDSHAKE", "ENDPOINT", "ADDRESSES, LABELS"));
  if (count <= lines.size()) return lines;
  const size_t room = count - lines.size();
  first_ = std::min(first_, shown.size() - std::min(shown.size(), room));
  for (size_t i = first_; i < shown.size() && i < first_ + room; ++i) {
    const Peer& peer = *shown[i];
    lines.push_back(absl::StrFormat("%-8s %-11s %11s %11s %9s  %-21s %s", peer.key.substr(0, 8),
                                    peer.state, Size(peer.received), Size(peer.sent),
                                    AgeOf(peer.last_handshake), peer.endpoint,
                                    absl::StrCat(peer.allowed_ips, " ", peer.labels)));
  }
  return lines;
}

}  // namespace wicket::tools
