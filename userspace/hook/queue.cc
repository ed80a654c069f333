#include "hook/queue.h"

#include <errno.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "crypto/curve25519.h"

namespace wicket::hook {
namespace {

// Of one event: its text, and what LMDB needs beside.
constexpr uint64_t kEventBytes = 2048;
constexpr uint64_t kMapBytesMin = 16 << 20;

// Entries of the table "meta".
constexpr char kNext[] = "next";         // the next number to give
constexpr char kGivenTo[] = "given_to";  // the last number of the batch that was given last
constexpr char kName[] = "name";

// As a key, in order.
class Number {
 public:
  explicit Number(uint64_t number) {
    for (int i = 0; i < 8; ++i) bytes_[i] = static_cast<char>(number >> (56 - 8 * i));
  }
  MDB_val value() { return {.mv_size = sizeof(bytes_), .mv_data = bytes_}; }

 private:
  char bytes_[8];
};

MDB_val ValueOf(absl::string_view text) {
  return {.mv_size = text.size(), .mv_data = const_cast<char*>(text.data())};
}

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
  // LMDB says EIO of a write that was cut short, as on a full disk.
  if (error == ENOSPC || error == EDQUOT || error == EIO || error == MDB_MAP_FULL ||
      error == MDB_TXN_FULL) {
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
  // The first event after the number `after`.
  int First(uint64_t after, MDB_val* key, MDB_val* value) {
    Number next(after + 1);
    *key = next.value();
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
  return stat.ms_entries;
}

// Returns: `otherwise` when it is not there.
absl::StatusOr<uint64_t> ReadNumber(MDB_txn* txn, MDB_dbi meta, const char* name,
                                    uint64_t otherwise) {
  MDB_val key = ValueOf(name), value;
  const int error = mdb_get(txn, meta, &key, &value);
  if (error == MDB_NOTFOUND) return otherwise;
  WICKET_RETURN_IF_ERROR(StatusOf(error, "read"));
  return NumberOf(value);
}

absl::Status WriteNumber(MDB_txn* txn, MDB_dbi meta, const char* name, uint64_t number) {
  Number bytes(number);
  MDB_val key = ValueOf(name), value = bytes.value();
  return StatusOf(mdb_put(txn, meta, &key, &value, 0), "write");
}

// Reads a name, or makes one.
absl::StatusOr<std::string> NameOf(MDB_txn* txn, MDB_dbi meta) {
  MDB_val key = ValueOf(kName), value;
  const int error = mdb_get(txn, meta, &key, &value);
  if (error == 0) return std::string(static_cast<const char*>(value.mv_data), value.mv_size);
  if (error != MDB_NOTFOUND) return StatusOf(error, "read");
  uint8_t random[6];
  crypto::FillRandom(random, sizeof(random));
  const std::string name = absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(random), sizeof(random)));
  value = ValueOf(name);
  WICKET_RETURN_IF_ERROR(StatusOf(mdb_put(txn, meta, &key, &value, 0), "write"));
  return name;
}

// A file that is shorter than its two roots would be read past its end.
bool IsTooShort(const std::string& folder) {
  struct stat info;
  return stat((folder + "/data.mdb").c_str(), &info) == 0 && info.st_size > 0 &&
         info.st_size < 2 * sysconf(_SC_PAGESIZE);
}

}  // namespace

void Queue::Close::operator()(MDB_env* env) const { mdb_env_close(env); }

absl::StatusOr<Queue> Queue::Open(const std::string& folder, uint64_t events_max) {
  if (mkdir(folder.c_str(), 0750) != 0 && errno != EEXIST) {
    return ErrnoStatus(errno, absl::StrCat("queue: mkdir(", folder, ")"),
                       "the folder above it must exist and belong to the user of wicket-hook");
  }
  const auto damaged = [&](absl::string_view why) {
    return absl::FailedPreconditionError(
        absl::StrCat("queue: ", folder, ": ", why,
                     "; a damaged queue may be removed: what is in it has not been delivered"));
  };
  if (IsTooShort(folder)) return damaged("data.mdb is too short");
  MDB_env* made = nullptr;
  WICKET_RETURN_IF_ERROR(StatusOf(mdb_env_create(&made), "create"));
  std::unique_ptr<MDB_env, Close> env(made);
  mdb_env_set_maxdbs(env.get(), 2);
  mdb_env_set_mapsize(env.get(), std::max(kMapBytesMin, events_max * kEventBytes));
  if (const int error = mdb_env_open(env.get(), folder.c_str(), 0, 0640); error != 0) {
    if (error > 0) return ErrnoStatus(error, absl::StrCat("queue: mdb_env_open(", folder, ")"));
    return damaged(mdb_strerror(error));
  }
  WICKET_ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(env.get(), 0));
  MDB_dbi events = 0, meta = 0;
  WICKET_RETURN_IF_ERROR(StatusOf(mdb_dbi_open(txn.get(), "events", MDB_CREATE, &events), "open"));
  WICKET_RETURN_IF_ERROR(StatusOf(mdb_dbi_open(txn.get(), "meta", MDB_CREATE, &meta), "open"));
  WICKET_ASSIGN_OR_RETURN(std::string name, NameOf(txn.get(), meta));
  WICKET_RETURN_IF_ERROR(txn.Commit());
  Queue queue(std::move(env), events, meta, events_max);
  queue.name_ = std::move(name);
  return queue;
}

absl::StatusOr<size_t> Queue::Push(std::span<const std::string> events) {
  const auto push = [&]() -> absl::StatusOr<size_t> {
    WICKET_ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(env_.get(), 0));
    WICKET_ASSIGN_OR_RETURN(const uint64_t waiting, CountOf(txn.get(), events_));
    const size_t room = waiting < events_max_ ? events_max_ - waiting : 0;
    events = events.first(std::min(events.size(), room));
    WICKET_ASSIGN_OR_RETURN(uint64_t next, ReadNumber(txn.get(), meta_, kNext, 1));
    for (const std::string& event : events) {
      Number number(next++);
      MDB_val key = number.value(), value = ValueOf(event);
      WICKET_RETURN_IF_ERROR(
          StatusOf(mdb_put(txn.get(), events_, &key, &value, MDB_APPEND), "write"));
    }
    if (events.empty()) return 0;
    WICKET_RETURN_IF_ERROR(WriteNumber(txn.get(), meta_, kNext, next));
    WICKET_RETURN_IF_ERROR(txn.Commit());
    return events.size();
  };
  auto pushed = push();
  if (absl::IsResourceExhausted(pushed.status())) return 0;
  return pushed;
}

absl::StatusOr<Batch> Queue::Front(uint64_t after, size_t count) {
  WICKET_ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(env_.get(), 0));
  WICKET_ASSIGN_OR_RETURN(const uint64_t given_to, ReadNumber(txn.get(), meta_, kGivenTo, 0));
  Batch batch;
  {
    Cursor cursor(txn.get(), events_);
    MDB_val key, value;
    int error = cursor.First(after, &key, &value);
    for (; error == 0 && batch.events.size() < count; error = cursor.Next(&key, &value)) {
      if (!batch.events.empty() && batch.last == given_to) break;
      batch.last = NumberOf(key);
      if (batch.events.empty()) batch.first = batch.last;
      batch.events.emplace_back(static_cast<const char*>(value.mv_data), value.mv_size);
    }
    if (error != 0 && error != MDB_NOTFOUND) return StatusOf(error, "read");
  }
  if (batch.events.empty() || batch.last <= given_to) return batch;
  WICKET_RETURN_IF_ERROR(WriteNumber(txn.get(), meta_, kGivenTo, batch.last));
  WICKET_RETURN_IF_ERROR(txn.Commit());
  return batch;
}

absl::Status Queue::Pop(uint64_t last) {
  WICKET_ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(env_.get(), 0));
  {
    Cursor cursor(txn.get(), events_);
    MDB_val key, value;
    while (cursor.First(0, &key, &value) == 0 && NumberOf(key) <= last) {
      WICKET_RETURN_IF_ERROR(StatusOf(cursor.Delete(), "delete"));
    }
  }
  return txn.Commit();
}

absl::StatusOr<uint64_t> Queue::size() const {
  WICKET_ASSIGN_OR_RETURN(Transaction txn, Transaction::Begin(env_.get(), MDB_RDONLY));
  return CountOf(txn.get(), events_);
}

}  // namespace wicket::hook
