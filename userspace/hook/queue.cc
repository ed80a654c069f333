#include "hook/queue.h"

#include <errno.h>
#include <lmdb.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace wicket::hook {
namespace {

// Of one event: its text, and what LMDB needs beside.
constexpr uint64_t kEventBytes = 2048;
constexpr uint64_t kMapBytesMin = 16 << 20;

// The number 0 stands for the next number to give, so that a number comes once.
class Number {
 public:
  explicit Number(uint64_t number) {
    for (int i = 0; i < 8; ++i) bytes_[i] = static_cast<char>(number >> (56 - 8 * i));
  }
  MDB_val value() { return {.mv_size = sizeof(bytes_), .mv_data = bytes_}; }

 private:
  char bytes_[8];
};

uint64_t NumberOf(const MDB_val& value) {
  uint64_t number = 0;
  for (size_t i = 0; i < std::min<size_t>(value.mv_size, 8); ++i) {
    number = number << 8 | static_cast<const unsigned char*>(value.mv_data)[i];
  }
  return number;
}

absl::Status StatusOf(int error, absl::string_view what) {
  if (error == 0) return absl::OkStatus();
  const std::string text = absl::StrCat("the queue: ", what, ": ", mdb_strerror(error));
  if (error == ENOSPC || error == EDQUOT || error == MDB_MAP_FULL || error == MDB_TXN_FULL) {
    return absl::ResourceExhaustedError(text);
  }
  return absl::InternalError(text);
}

class Transaction {
 public:
  static absl::StatusOr<Transaction> Begin(MDB_env* env, unsigned flags) {
    MDB_txn* txn = nullptr;
    WICKET_RETURN_IF_ERROR(StatusOf(mdb_txn_begin(env, nullptr, flags, &txn), "begin"));
    return Transaction(txn);
  }
  Transaction(Transaction&& other) noexcept : txn_(std::exchange(other.txn_, nullptr)) {}
  ~Transaction() {
    if (txn_ != nullptr) mdb_txn_abort(txn_);
  }
  MDB_txn* get() const { return txn_; }
  absl::Status Commit() { return StatusOf(mdb_txn_commit(std::exchange(txn_, nullptr)), "commit"); }

 private:
  explicit Transaction(MDB_txn* txn) : txn_(txn) {}
  MDB_txn* txn_;
};

class Cursor {
 public:
  Cursor(MDB_txn* txn, MDB_dbi table) { mdb_cursor_open(txn, table, &cursor_); }
  Cursor(const Cursor&) = delete;
  ~Cursor() { mdb_cursor_close(cursor_); }
  // The first event, after the counter, and those after it.
  int First(MDB_val* key, MDB_val* value) {
    Number one(1);
    *key = one.value();
    return mdb_cursor_get(cursor_, key, value, MDB_SET_RANGE);
  }
  int Next(MDB_val* key, MDB_val* value) { return mdb_cursor_get(cursor_, key, value, MDB_NEXT); }
  int Delete() { return mdb_cursor_del(cursor_, 0); }

 private:
  MDB_cursor* cursor_ = nullptr;
};

absl::StatusOr<uint64_t> CountOf(MDB_txn* txn, MDB_dbi table) {
  MDB_stat stat;
  WICKET_RETURN_IF_ERROR(StatusOf(mdb_stat(txn, table, &stat), "count"));
  return stat.ms_entries == 0 ? 0 : stat.ms_entries - 1;  // the counter is no event
}

}  // namespace

void Queue::Close::operator()(MDB_env* env) const { mdb_env_close(env); }

absl::StatusOr<Queue> Queue::Open(const std::string& folder, uint64_t events_max) {
  if (mkdir(folder.c_str(), 0750) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, absl::StrCat("queue: mkdir(", folder, ")"),
                       "the folder above it must exist and belong to the user of wicket-hook");
  }
  MDB_env* made = nullptr;
  WICKET_RETURN_IF_ERROR(StatusOf(mdb_env_create(&made), "create"));
  std::unique_ptr<MDB_env, Close> env(made);
  mdb_env_set_mapsize(env.get(), std::max(kMapBytesMin, events_max * kEventBytes));
  if (const int error = mdb_env_open(env.get(), folder.c_str(), 0, 0640); error != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("queue: ", folder, ": ", mdb_strerror(error),
                     "; a damaged queue may be removed: what is in it has not been delivered"));
  }
  WICKET_ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(env.get(), 0));
  MDB_dbi table = 0;
  WICKET_RETURN_IF_ERROR(StatusOf(mdb_dbi_open(txn.get(), nullptr, 0, &table), "open"));
  WICKET_RETURN_IF_ERROR(txn.Commit());
  return Queue(std::move(env), table, events_max);
}

absl::Status Queue::Push(std::span<const std::string> events) {
  WICKET_ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(env_.get(), 0));
  WICKET_ASSIGN_OR_RETURN(const uint64_t waiting, CountOf(txn.get(), table_));
  if (waiting + events.size() > events_max_) {
    return absl::ResourceExhaustedError(absl::StrCat("the queue is full: ", waiting, " events"));
  }
  Number counter(0);
  MDB_val key = counter.value(), value;
  const int error = mdb_get(txn.get(), table_, &key, &value);
  if (error != 0 && error != MDB_NOTFOUND) return StatusOf(error, "read");
  uint64_t next = error == 0 ? NumberOf(value) : 1;
  for (const std::string& event : events) {
    Number number(next++);
    key = number.value();
    value = {.mv_size = event.size(), .mv_data = const_cast<char*>(event.data())};
    WICKET_RETURN_IF_ERROR(StatusOf(mdb_put(txn.get(), table_, &key, &value, MDB_APPEND), "write"));
  }
  Number after(next);
  key = counter.value();
  value = after.value();
  WICKET_RETURN_IF_ERROR(StatusOf(mdb_put(txn.get(), table_, &key, &value, 0), "write"));
  return txn.Commit();
}

absl::StatusOr<Batch> Queue::Front(size_t count) const {
  WICKET_ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(env_.get(), MDB_RDONLY));
  Batch batch;
  {
    Cursor cursor(txn.get(), table_);
    MDB_val key, value;
    int error = cursor.First(&key, &value);
    for (; error == 0 && batch.events.size() < count; error = cursor.Next(&key, &value)) {
      batch.last = NumberOf(key);
      if (batch.events.empty()) batch.first = batch.last;
      batch.events.emplace_back(static_cast<const char*>(value.mv_data), value.mv_size);
    }
    if (error != 0 && error != MDB_NOTFOUND) return StatusOf(error, "read");
  }
  return batch;
}

absl::Status Queue::Pop(uint64_t last) {
  WICKET_ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(env_.get(), 0));
  {
    Cursor cursor(txn.get(), table_);
    MDB_val key, value;
    while (cursor.First(&key, &value) == 0 && NumberOf(key) <= last) {
      WICKET_RETURN_IF_ERROR(StatusOf(cursor.Delete(), "delete"));
    }
  }
  return txn.Commit();
}

absl::StatusOr<uint64_t> Queue::size() const {
  WICKET_ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(env_.get(), MDB_RDONLY));
  return CountOf(txn.get(), table_);
}

}  // namespace wicket::hook
