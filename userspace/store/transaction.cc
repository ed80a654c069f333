#include "store/transaction.h"

#include <sys/statvfs.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "store/lmdb_values.h"

namespace wicket::store {
namespace {

constexpr uint64_t kDiskReserveBytes = 1 << 20;
// A deletion writes new pages before it frees old ones, so new records must leave room
// for it: several times what a change of every table may copy.
constexpr uint64_t kReservePages = 256;
constexpr uint64_t kReserveShare = 8;  // at most this part of the file, 1/8
constexpr unsigned kFreeTable = 0;     // LMDB's own: lists of free pages by transaction

}  // namespace

Transaction::~Transaction() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

absl::Status Transaction::Spoil(int code, absl::string_view call) {
  if (code == MDB_SUCCESS) return absl::OkStatus();
  spoilt_ = true;
  if (code == MDB_MAP_FULL) return MapFull(call);
  // LMDB calls a short write an I/O error; the commonest reason is this one.
  struct statvfs disk;
  if ((code == EIO || code == ENOSPC) && statvfs(path_.c_str(), &disk) == 0 &&
      disk.f_bavail * disk.f_frsize < kDiskReserveBytes) {
    return absl::ResourceExhaustedError(absl::StrCat(call, ": the disk of the store ", path_,
                                                     " is full; nothing stored before is lost"));
  }
  return LmdbStatus(code, call, path_);
}

absl::Status Transaction::MapFull(absl::string_view call) const {
  return absl::ResourceExhaustedError(
      absl::StrCat(call, ": the store ", path_, " has reached its limit of ", bytes_max_,
                   " bytes (delete peers, or raise store.bytes_max and restart)"));
}

absl::Status Transaction::CheckRoom() {
  if (room_) return *room_;
  MDB_env* env = mdb_txn_env(txn_);
  MDB_envinfo info;
  MDB_stat stat;
  mdb_env_info(env, &info);
  mdb_env_stat(env, &stat);
  const uint64_t pages = info.me_mapsize / stat.ms_psize;
  const uint64_t reserve = std::min(kReservePages, pages / kReserveShare);
  uint64_t left = pages - std::min<uint64_t>(pages, info.me_last_pgno + 1);
  MDB_txn* reader = nullptr;  // only readers may look into that table
  if (left < reserve && mdb_txn_begin(env, nullptr, MDB_RDONLY, &reader) == MDB_SUCCESS) {
    const Cursor cursor = OpenCursor(reader, kFreeTable);
    MDB_val key{}, value{};
    while (cursor && left < reserve &&
           mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT) == MDB_SUCCESS) {
      size_t count = 0;
      if (value.mv_size >= sizeof(count)) memcpy(&count, value.mv_data, sizeof(count));
      left += count;
    }
    mdb_txn_abort(reader);
  }
  room_ = left < reserve ? MapFull("a new record") : absl::OkStatus();
  return *room_;
}

absl::Status Transaction::Put(unsigned table, absl::string_view key, absl::string_view value) {
  MDB_val lmdb_key = Val(key), lmdb_value = Val(value);
  return Spoil(mdb_put(txn_, table, &lmdb_key, &lmdb_value, 0), "mdb_put()");
}

absl::Status Transaction::Delete(unsigned table, absl::string_view key, absl::string_view call) {
  MDB_val lmdb_key = Val(key);
  const int code = mdb_del(txn_, table, &lmdb_key, nullptr);
  return code == MDB_NOTFOUND ? absl::OkStatus() : Spoil(code, call);
}

absl::Status Transaction::Commit() {
  absl::Status status = Spoil(mdb_txn_commit(std::exchange(txn_, nullptr)), "mdb_txn_commit()");
  turn_.Close();
  return status;
}

}  // namespace wicket::store
