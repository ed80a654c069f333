#include "store/lmdb_values.h"

#include "absl/strings/str_cat.h"

namespace wicket::store {

absl::Status LmdbStatus(int code, absl::string_view call, absl::string_view path) {
  if (code == MDB_SUCCESS) return absl::OkStatus();
  const std::string message = absl::StrCat(call, ": ", mdb_strerror(code), " (store ", path, ")");
  switch (code) {
    case MDB_NOTFOUND:
      return absl::NotFoundError(message);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
      return absl::DataLossError(absl::StrCat(
          message, "; the file is damaged: restore a backup or import the peers again"));
    case MDB_PANIC:
      return absl::AbortedError(absl::StrCat(
          message,
          "; an earlier write failed half-way: what was acknowledged is safe, and the store "
          "must be reopened"));
    case MDB_VERSION_MISMATCH:
      return absl::FailedPreconditionError(message);
    case MDB_READERS_FULL:
      return absl::ResourceExhaustedError(message);
    default:
      if (code > 0) return absl::Status(absl::ErrnoToStatusCode(code), message);
      return absl::InternalError(message);
  }
}

absl::Status Damaged(const PublicKey& key) {
  return absl::DataLossError(absl::StrCat("peer ", Abbreviate(key),
                                          ": its record is damaged (checksum or format); remove or "
                                          "import it again"));
}

}  // namespace wicket::store
