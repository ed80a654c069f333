// A cache of all peers in one SQLite file.
#pragma once

#include <sqlite3.h>

#include <memory>
#include <optional>
#include <string>

#include "base/peer.h"
#include "base/status.h"

namespace wicket::baseline {

// The table that the cache reads:
//   peers(key BLOB PRIMARY KEY, allowed_ips TEXT, psk BLOB, keepalive INTEGER) WITHOUT ROWID
// `allowed_ips` is separated by commas; `psk` may be NULL.
//
// Thread: one.
class PeerCache {
 public:
  // Creates the table if the file has none.
  // Errors: SQLite's message, with the path.
  static absl::StatusOr<PeerCache> Open(const std::string& path);

  // Returns: nullopt when there is no peer with this key.
  // Cost:    one prepared SELECT; allocates only the peer.
  absl::StatusOr<std::optional<PeerConfig>> Find(const PublicKey& key);

 private:
  struct Close {
    void operator()(sqlite3* database) const { sqlite3_close(database); }
    void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
  };
  // Destroyed in reverse order: the statement before its database.
  std::unique_ptr<sqlite3, Close> database_;
  std::unique_ptr<sqlite3_stmt, Close> select_;
};

}  // namespace wicket::baseline
