// Snapshot::Verify: reads everything once, and each index entry's record again.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "store/lmdb_values.h"
#include "store/snapshot.h"

namespace wicket::store {
namespace {

constexpr uint64_t kProgressStep = 10'000;

// Calls `visit` for every entry of a table.
absl::Status ForEach(MDB_txn* txn, unsigned table, const char* name,
                     const std::function<void(absl::string_view, absl::string_view)>& visit) {
  const Cursor cursor = OpenCursor(txn, table);
  if (!cursor) return absl::ResourceExhaustedError("mdb_cursor_open(): no memory");
  MDB_val key{}, value{};
  int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_FIRST);
  for (; code == MDB_SUCCESS; code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
    visit(View(key), View(value));
  }
  if (code == MDB_NOTFOUND) return absl::OkStatus();
  return LmdbStatus(code, absl::StrCat("mdb_cursor_get(", name, ")"), "snapshot");
}

}  // namespace

absl::StatusOr<Snapshot::Findings> Snapshot::Verify(
    const std::function<void(const std::string&)>& problem,
    const std::function<void(uint64_t)>& progress) const {
  Findings findings;
  uint64_t read = 0;
  const auto complain = [&](const std::string& text) {
    ++findings.problems;
    problem(text);
  };
  const auto step = [&] {
    if (++read % kProgressStep == 0) progress(read);
  };
  const auto has = [&](unsigned table, const std::string& entry) {
    MDB_val key = Val(absl::string_view(entry)), value;
    return mdb_get(txn_, table, &key, &value) == MDB_SUCCESS;
  };
  WICKET_RETURN_IF_ERROR(
      ForEach(txn_, tables_.peers, "peers", [&](absl::string_view key, absl::string_view value) {
        step();
        const auto public_key = key.size() == kKeyBytes ? KeyAtEnd(key) : std::nullopt;
        if (!public_key) return complain("peers: a key is not 32 bytes");
        const auto peer = DecodePeer(*public_key, value);
        if (!peer) return complain(std::string(Damaged(*public_key).message()));
        ++findings.peers;
        const std::string who = absl::StrCat("peer ", Abbreviate(*public_key), ": ");
        for (const Prefix& prefix : peer->config.allowed_ips) {
          if (FindPrefix(peer->device, prefix) != public_key) {
            complain(absl::StrCat(who, ToString(prefix), " is not noted as its own"));
          }
        }
        if (peer->expires != absl::InfiniteFuture() &&
            !has(tables_.expiries, ExpiryKey(peer->expires, *public_key))) {
          complain(absl::StrCat(who, "it would not expire"));
        }
        for (const auto& [name, text] : peer->labels) {
          if (!has(tables_.labels, LabelKey(peer->device, name, text) + std::string(key))) {
            complain(absl::StrCat(who, "label ", name, " does not lead to it"));
          }
        }
      }));
  WICKET_RETURN_IF_ERROR(ForEach(
      txn_, tables_.sessions, "sessions", [&](absl::string_view key, absl::string_view value) {
        step();
        const auto public_key = key.size() == kKeyBytes ? KeyAtEnd(key) : std::nullopt;
        if (!public_key || !DecodeSession(*public_key, value)) {
          return complain("sessions: a record is damaged");
        }
        ++findings.sessions;
      }));
  WICKET_RETURN_IF_ERROR(ForEach(
      txn_, tables_.prefixes, "prefixes", [&](absl::string_view key, absl::string_view value) {
        step();
        ++findings.index_entries;
        const auto owner = value.size() == kKeyBytes ? KeyAtEnd(value) : std::nullopt;
        if (!owner) return complain("prefixes: an owner is not 32 bytes");
        const auto peer = FindPeer(*owner);
        const bool agrees =
            peer.ok() && std::any_of(peer->config.allowed_ips.begin(),
                                     peer->config.allowed_ips.end(), [&](const Prefix& prefix) {
                                       return PrefixKey(peer->device, prefix) == key;
                                     });
        if (!agrees) {
          complain(absl::StrCat("prefixes: an entry of ", Abbreviate(*owner),
                                " that its record does not know"));
        }
      }));
  for (const unsigned table : {tables_.expiries, tables_.labels}) {
    WICKET_RETURN_IF_ERROR(
        ForEach(txn_, table, "indexes", [&](absl::string_view key, absl::string_view) {
          step();
          ++findings.index_entries;
          if (!KeyAtEnd(key)) complain("an index entry is too short for a public key");
        }));
  }
  return findings;
}

}  // namespace wicket::store
