#include "bench/baseline/peer_cache.h"

#include <string.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace wicket::baseline {
namespace {

absl::string_view Column(sqlite3_stmt* row, int column) {
  const void* bytes = sqlite3_column_blob(row, column);
  return {static_cast<const char*>(bytes), static_cast<size_t>(sqlite3_column_bytes(row, column))};
}

absl::StatusOr<PeerConfig> ReadRow(const PublicKey& key, sqlite3_stmt* row) {
  PeerConfig peer{.public_key = key};
  for (const absl::string_view text : absl::StrSplit(Column(row, 0), ',', absl::SkipEmpty())) {
    const auto prefix = ParsePrefix(text);
    if (!prefix) return absl::DataLossError(absl::StrCat(Abbreviate(key), ": allowed ip ", text));
    peer.allowed_ips.push_back(*prefix);
  }
  if (const absl::string_view psk = Column(row, 1); psk.size() == kKeyBytes) {
    memcpy(peer.preshared_key.emplace().data(), psk.data(), kKeyBytes);
  }
  peer.persistent_keepalive_s = static_cast<uint16_t>(sqlite3_column_int(row, 2));
  return peer;
}

}  // namespace

absl::StatusOr<PeerCache> PeerCache::Open(const std::string& path) {
  PeerCache cache;
  sqlite3* database = nullptr;
  const int opened = sqlite3_open(path.c_str(), &database);
  cache.database_.reset(database);
  const auto failure = [&] {
    return absl::InternalError(absl::StrCat(path, ": ", sqlite3_errmsg(cache.database_.get())));
  };
  if (opened != SQLITE_OK) return failure();
  constexpr char kSetup[] =
      "PRAGMA journal_mode=WAL; PRAGMA mmap_size=17179869184; PRAGMA cache_size=-262144;"
      "CREATE TABLE IF NOT EXISTS peers(key BLOB PRIMARY KEY, allowed_ips TEXT, psk BLOB,"
      " keepalive INTEGER) WITHOUT ROWID";
  if (sqlite3_exec(database, kSetup, nullptr, nullptr, nullptr) != SQLITE_OK) return failure();
  sqlite3_stmt* select = nullptr;
  if (sqlite3_prepare_v3(database, "SELECT allowed_ips, psk, keepalive FROM peers WHERE key = ?",
                         -1, SQLITE_PREPARE_PERSISTENT, &select, nullptr) != SQLITE_OK) {
    return failure();
  }
  cache.select_.reset(select);
  return cache;
}

absl::StatusOr<std::optional<PeerConfig>> PeerCache::Find(const PublicKey& key) {
  sqlite3_bind_blob(select_.get(), 1, key.bytes.data(), kKeyBytes, SQLITE_STATIC);
  const int step = sqlite3_step(select_.get());
  absl::StatusOr<std::optional<PeerConfig>> found{std::nullopt};
  if (step == SQLITE_ROW) {
    found = ReadRow(key, select_.get());
  } else if (step != SQLITE_DONE) {
    found = absl::InternalError(absl::StrCat("SELECT: ", sqlite3_errmsg(database_.get())));
  }
  sqlite3_reset(select_.get());
  return found;
}

}  // namespace wicket::baseline
