#include "control/listing.h"

#include <string.h>

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/clock.h"
#include "control/query.h"
#include "document/answer_text.h"
#include "document/peer_text.h"

namespace wicket::control {
namespace {

constexpr size_t kCursorBytesMax = 511;  // of an LMDB key
constexpr size_t kKeysMax = 2000;        // of one question: some 0.2 ms of the device's thread

struct Listing {
  std::vector<store::Peer> peers;
  std::string cursor;                // empty at the end
  roster::InstalledByKey installed;  // of the peers, where the device was asked
  bool device_asked = false;
};

std::vector<PublicKey> KeysOf(std::span<const store::Peer> peers) {
  std::vector<PublicKey> keys;
  for (const store::Peer& peer : peers) keys.push_back(peer.config.public_key);
  return keys;
}

absl::StatusOr<Listing> ListStored(const Page& page, const store::Snapshot& snapshot) {
  Listing listing{.cursor = page.cursor};
  WICKET_RETURN_IF_ERROR(
      snapshot.List(page.selection, kEntriesMax, &listing.cursor, [&](store::Peer peer) {
        if (page.Admits(peer)) listing.peers.push_back(std::move(peer));
        return listing.peers.size() < page.limit;
      }));
  return listing;
}

bool IsInstalled(const PublicKey& key, const roster::InstalledByKey& known) {
  const auto it = known.find(key);
  return it != known.end() && it->second.state != nullptr;
}

// In the order of the device's keys; the cursor is the last of them.
absl::StatusOr<Listing> ListInstalled(const Page& page, const store::Snapshot& snapshot,
                                      roster::Devices& devices) {
  Listing listing{.device_asked = true};
  std::optional<PublicKey> after;
  if (page.cursor.size() == kKeyBytes) {
    memcpy(after.emplace().bytes.data(), page.cursor.data(), kKeyBytes);
  }
  const std::string& device = page.selection.device;
  WICKET_ASSIGN_OR_RETURN(const std::vector<PublicKey> keys,
                          devices.List(device, after, page.limit));
  if (keys.empty()) return listing;
  WICKET_ASSIGN_OR_RETURN(listing.installed, devices.Find(device, keys));
  for (const PublicKey& key : keys) {
    auto peer = snapshot.FindPeer(key);
    if (peer.ok() && page.selection.Admits(*peer) && page.Admits(*peer) &&
        IsInstalled(key, listing.installed)) {
      listing.peers.push_back(std::move(*peer));
    }
  }
  if (keys.size() == page.limit) {
    listing.cursor.assign(reinterpret_cast<const char*>(keys.back().bytes.data()), kKeyBytes);
  }
  return listing;
}

// Reads candidates, asks the device about them all, and goes on with twice as many while the
// page is not full: at most fourteen questions a page.
absl::StatusOr<Listing> ListNotInstalled(const Page& page, const store::Snapshot& snapshot,
                                         roster::Devices& devices) {
  Listing listing{.cursor = page.cursor, .device_asked = true};
  const store::Selection& selection = page.selection;
  size_t left = kEntriesMax, entries = std::max(page.limit, kPageDefault);
  do {
    entries = std::min(entries, left);
    const std::string begin = listing.cursor;
    std::vector<PublicKey> candidates;
    WICKET_RETURN_IF_ERROR(
        snapshot.List(selection, entries, &listing.cursor, [&](const store::Peer& peer) {
          if (page.Admits(peer)) candidates.push_back(peer.config.public_key);
          return true;
        }));
    roster::InstalledByKey installed;
    if (!candidates.empty()) {
      WICKET_ASSIGN_OR_RETURN(installed, devices.Find(selection.device, candidates));
    }
    for (const PublicKey& key : candidates) {
      if (IsInstalled(key, installed)) continue;
      WICKET_ASSIGN_OR_RETURN(store::Peer peer, snapshot.FindPeer(key));
      listing.peers.push_back(std::move(peer));
      if (listing.peers.size() < page.limit) continue;
      // The page ends here, so the cursor must: the same view is read again up to this peer.
      listing.cursor = begin;
      WICKET_RETURN_IF_ERROR(
          snapshot.List(selection, entries, &listing.cursor,
                        [&](const store::Peer& again) { return again.config.public_key != key; }));
      return listing;
    }
    left -= entries;
    entries = std::min(2 * entries, kKeysMax);
  } while (!listing.cursor.empty() && left > 0);
  return listing;
}

Standing StandingOf(const PublicKey& key, const roster::InstalledByKey& known,
                    const store::Snapshot& snapshot) {
  const auto it = known.find(key);
  if (it == known.end()) return {.session = snapshot.FindSession(key)};
  Standing standing{.session = it->second.session};
  if (it->second.state != nullptr) standing.state = it->second.state;
  return standing;
}

std::string ToReport(const store::Peer& peer, const roster::InstalledByKey& installed,
                     const store::Snapshot& snapshot) {
  const Standing standing = StandingOf(peer.config.public_key, installed, snapshot);
  return document::ToReport(peer, standing.session, standing.state);
}

}  // namespace

absl::StatusOr<Page> ParsePage(const http::Target& target, absl::Time now) {
  WICKET_RETURN_IF_ERROR(
      CheckQuery(target, {"label", "prefix", "installed", "expired", "limit", "cursor"}));
  Page page{.now = now};
  page.selection.device = target.path[2];
  const auto get = [&](const char* name) -> const std::string* {
    const auto it = target.query.find(name);
    return it == target.query.end() ? nullptr : &it->second;
  };
  const auto bad = [](const char* name, absl::string_view accepted) {
    return document::AboutField(
        name, absl::InvalidArgumentError(absl::StrCat(name, ": accepted: ", accepted)));
  };
  if (const std::string* text = get("limit")) {
    if (!absl::SimpleAtoi(*text, &page.limit) || page.limit < 1 || page.limit > kPageMax) {
      return bad("limit", absl::StrCat("1 to ", kPageMax));
    }
  }
  if (const std::string* text = get("label")) {
    const size_t equals = text->find('=');
    if (equals == text->npos || equals == 0) return bad("label", "NAME=VALUE");
    page.selection.label = {text->substr(0, equals), text->substr(equals + 1)};
  }
  if (const std::string* text = get("prefix")) {
    page.selection.within = ParsePrefix(*text);
    if (!page.selection.within) return bad("prefix", "an address, or address/length");
  }
  if (const std::string* text = get("cursor")) {
    if (!absl::WebSafeBase64Unescape(*text, &page.cursor) || page.cursor.size() > kCursorBytesMax) {
      return bad("cursor", "what an earlier page gave as next_cursor");
    }
  }
  WICKET_ASSIGN_OR_RETURN(page.installed, FlagOf(target, "installed"));
  WICKET_ASSIGN_OR_RETURN(page.expired, FlagOf(target, "expired"));
  if (page.expired == true) page.selection.expired_by = now;
  return page;
}

Standing StandingOf(const store::Peer& peer, const store::Snapshot& snapshot,
                    roster::Devices& devices) {
  const PublicKey& key = peer.config.public_key;
  const auto installed = devices.Find(peer.device, {&key, 1});
  if (installed.ok()) return StandingOf(key, *installed, snapshot);
  return {.state = kNotReached, .session = snapshot.FindSession(key)};
}

std::vector<std::string> ToReports(std::span<const store::Peer> peers,
                                   const store::Snapshot& snapshot, roster::Devices& devices) {
  std::vector<std::string> reports;
  if (peers.empty()) return reports;
  const auto known = devices.Find(peers[0].device, KeysOf(peers));
  for (const store::Peer& peer : peers) {
    reports.push_back(
        known.ok()
            ? ToReport(peer, *known, snapshot)
            : document::ToReport(peer, snapshot.FindSession(peer.config.public_key), kNotReached));
  }
  return reports;
}

absl::Status ListPeers(http::Exchange& exchange, const store::Store& store,
                       roster::Devices& devices) {
  WICKET_ASSIGN_OR_RETURN(const Page page, ParsePage(exchange.target(), WallNow()));
  WICKET_ASSIGN_OR_RETURN(const store::Snapshot snapshot, store.NewSnapshot());
  const auto listing = page.installed == true    ? ListInstalled(page, snapshot, devices)
                       : page.installed == false ? ListNotInstalled(page, snapshot, devices)
                                                 : ListStored(page, snapshot);
  if (absl::IsInvalidArgument(listing.status())) {
    return document::AboutField("cursor", listing.status());
  }
  WICKET_RETURN_IF_ERROR(listing.status());
  std::vector<std::string> reports;
  if (listing->device_asked) {
    for (const store::Peer& peer : listing->peers) {
      reports.push_back(ToReport(peer, listing->installed, snapshot));
    }
  } else {
    reports = ToReports(listing->peers, snapshot, devices);
  }
  std::string json = absl::StrCat("{\"peers\":[", absl::StrJoin(reports, ","), "]");
  if (!listing->cursor.empty()) {
    absl::StrAppend(&json, ",\"next_cursor\":\"", absl::WebSafeBase64Escape(listing->cursor), "\"");
  }
  exchange.Answer(200, json + "}");
  return absl::OkStatus();
}

}  // namespace wicket::control
