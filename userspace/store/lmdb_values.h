// LMDB's values, cursors and errors as C++ types. For this module's sources only.
#pragma once

#include <lmdb.h>
#include <string.h>

#include <memory>

#include "base/key.h"
#include "base/status.h"

namespace wicket::store {

inline MDB_val Val(absl::string_view bytes) {
  return {bytes.size(), const_cast<char*>(bytes.data())};
}
inline MDB_val Val(const PublicKey& key) {
  return {kKeyBytes, const_cast<uint8_t*>(key.bytes.data())};
}
inline absl::string_view View(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}
inline absl::string_view View(const PublicKey& key) {
  return {reinterpret_cast<const char*>(key.bytes.data()), kKeyBytes};
}

// The public key in the last 32 bytes of an index entry or a value.
//
// Returns: nullopt when there are fewer bytes.
inline std::optional<PublicKey> KeyAtEnd(absl::string_view bytes) {
  if (bytes.size() < kKeyBytes) return std::nullopt;
  PublicKey key;
  memcpy(key.bytes.data(), bytes.data() + bytes.size() - kKeyBytes, kKeyBytes);
  return key;
}

struct CloseCursor {
  void operator()(MDB_cursor* cursor) const { mdb_cursor_close(cursor); }
};
using Cursor = std::unique_ptr<MDB_cursor, CloseCursor>;

// Returns: null when there is no memory, or the transaction is spoilt or released.
inline Cursor OpenCursor(MDB_txn* txn, MDB_dbi table) {
  MDB_cursor* cursor = nullptr;
  return Cursor(mdb_cursor_open(txn, table, &cursor) == MDB_SUCCESS ? cursor : nullptr);
}

// `where` is the path of the store, or names the caller.
absl::Status LmdbStatus(int code, absl::string_view call, absl::string_view where);
absl::Status Damaged(const PublicKey& key);

}  // namespace wicket::store
