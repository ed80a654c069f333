#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "store/lmdb_values.h"

namespace wicket::store {
namespace {

constexpr unsigned kReadersMax = 1024;
constexpr absl::Duration kTurnPoll = absl::Milliseconds(2);
constexpr char kFormatKey[] = "format";
constexpr uint64_t kBytesMaxDefault = uint64_t{64} << 30;

// The holder that a lock file names: ", process 17," or nothing.
std::string Holder(const Fd& fd) {
  char text[32] = {};
  [[maybe_unused]] const ssize_t n = pread(fd.get(), text, sizeof(text) - 1, 0);
  int pid = 0;
  return absl::SimpleAtoi(text, &pid) ? absl::StrCat(", process ", pid, ",") : "";
}

absl::Status NoteHolder(const Fd& fd, const std::string& path) {
  const std::string pid = absl::StrFormat("%-10d\n", getpid());  // always as long: no truncation
  if (pwrite(fd.get(), pid.data(), pid.size(), 0) == static_cast<ssize_t>(pid.size())) {
    return absl::OkStatus();
  }
  return ErrnoStatus(errno ? errno : EIO, absl::StrCat("write(", path, ")"));
}

}  // namespace

// --- Store ------------------------------------------------------------------

void Store::CloseEnv::operator()(MDB_env* env) const { mdb_env_close(env); }

absl::StatusOr<Store> Store::Open(const Options& options) {
  const std::string data = options.path + "/data.mdb";
  if (options.create) {
    if (mkdir(options.path.c_str(), 0700) != 0 && errno != EEXIST) {
      return ErrnoStatus(errno, absl::StrCat("mkdir(", options.path, ")"));
    }
  } else if (access(data.c_str(), F_OK) != 0) {
    return ErrnoStatus(errno, absl::StrCat("open(", data, ")"), "no store there");
  }
  // LMDB reads its meta pages through the map and would be killed by SIGBUS in a
  // file that ends inside one.
  struct stat before;
  if (stat(data.c_str(), &before) == 0 && before.st_size > 0 && before.st_size < 2 * 4096) {
    return absl::DataLossError(absl::StrCat(data, ": truncated to ", before.st_size,
                                            " bytes; restore a backup or import the peers again"));
  }
  MDB_env* raw = nullptr;
  if (int code = mdb_env_create(&raw)) return LmdbStatus(code, "mdb_env_create()", options.path);
  std::unique_ptr<MDB_env, CloseEnv> env(raw);
  mdb_env_set_maxdbs(raw, 16);
  mdb_env_set_maxreaders(raw, kReadersMax);
  const bool exists = stat(data.c_str(), &before) == 0 && before.st_size > 0;
  if (!exists) {
    mdb_env_set_mapsize(raw, options.bytes_max ? options.bytes_max : kBytesMaxDefault);
  }  // else LMDB takes what the file was last opened with, so that all processes agree
  // NOTLS: a reader slot belongs to the snapshot, not the thread. NORDAHEAD: keys
  // are random, so read-ahead would fetch pages in vain.
  const unsigned flags = MDB_NOTLS | MDB_NORDAHEAD | (options.read_only ? MDB_RDONLY : 0u);
  if (int code = mdb_env_open(raw, options.path.c_str(), flags, 0600)) {
    return LmdbStatus(code, absl::StrCat("mdb_env_open(", options.path, ")"), options.path);
  }
  MDB_envinfo info;
  MDB_stat stat_info;
  mdb_env_info(raw, &info);
  mdb_env_stat(raw, &stat_info);
  if (info.me_mapsize < options.bytes_max) mdb_env_set_mapsize(raw, options.bytes_max);
  struct stat after;
  const uint64_t needed = (static_cast<uint64_t>(info.me_last_pgno) + 1) * stat_info.ms_psize;
  if (stat(data.c_str(), &after) == 0 && static_cast<uint64_t>(after.st_size) < needed) {
    return absl::DataLossError(absl::StrCat(data, ": truncated to ", after.st_size, " of ", needed,
                                            " bytes; restore a backup or import the peers again"));
  }
  Store store(options, std::move(env));
  store.options_.bytes_max = std::max<uint64_t>(info.me_mapsize, options.bytes_max);
  store.CheckReaders();
  WICKET_RETURN_IF_ERROR(store.OpenTables());
  return store;
}

void Store::CheckReaders() const {
  int dead = 0;
  mdb_reader_check(env_.get(), &dead);
}

// A whole store is opened for reading, which waits for no writer.
absl::Status Store::OpenTables() {
  for (const bool create : {false, true}) {
    MDB_txn* txn = nullptr;
    if (int code = mdb_txn_begin(env_.get(), nullptr, create ? 0 : MDB_RDONLY, &txn)) {
      return LmdbStatus(code, "mdb_txn_begin()", options_.path);
    }
    const absl::Status opened = OpenTablesIn(txn, create);
    if (opened.ok()) return LmdbStatus(mdb_txn_commit(txn), "mdb_txn_commit()", options_.path);
    mdb_txn_abort(txn);
    if (create || options_.read_only || !absl::IsNotFound(opened)) return opened;
  }
  return absl::OkStatus();
}

absl::Status Store::OpenTablesIn(MDB_txn* txn, bool create) {
  const std::pair<const char*, unsigned*> tables[] = {
#define WICKET_STORE_TABLE(name) {#name, &tables_.name},
      WICKET_STORE_TABLES(WICKET_STORE_TABLE)
#undef WICKET_STORE_TABLE
  };
  for (const auto& [name, table] : tables) {
    if (int code = mdb_dbi_open(txn, name, create ? MDB_CREATE : 0, table)) {
      return LmdbStatus(code, absl::StrCat("mdb_dbi_open(", name, ")"), options_.path);
    }
  }
  MDB_val key = Val(absl::string_view(kFormatKey)), value;
  const int code = mdb_get(txn, tables_.meta, &key, &value);
  uint32_t format = kFormat;
  if (code != MDB_SUCCESS && (code != MDB_NOTFOUND || !create)) {
    return LmdbStatus(code, "mdb_get(meta)", options_.path);
  }
  if (code == MDB_SUCCESS) {
    format = 0;
    if (value.mv_size == sizeof(format)) memcpy(&format, value.mv_data, sizeof(format));
    if (format == kFormat) return absl::OkStatus();
    if (format >= kFormatOldest && format < kFormat && !create)
      return absl::NotFoundError("to be written");
  }
  if (code == MDB_NOTFOUND || (format >= kFormatOldest && format < kFormat)) {
    format = kFormat;
    value = {sizeof(format), &format};
    return LmdbStatus(mdb_put(txn, tables_.meta, &key, &value, 0), "mdb_put(meta)", options_.path);
  }
  return absl::FailedPreconditionError(
      absl::StrCat("store ", options_.path, " has format ", format, "; this version reads format ",
                   kFormat, " (export with the version that wrote it, and import)"));
}

absl::Status Store::LockForDaemon() {
  const std::string path = options_.path + "/daemon.lock";
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open(", path, ")"));
  if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("flock(", path, "): another wicketd", Holder(fd),
                     " uses this store (stop it, or give this one its own store.path)"));
  }
  WICKET_RETURN_IF_ERROR(NoteHolder(fd, path));
  lock_ = std::move(fd);
  return absl::OkStatus();
}

// LMDB's own lock for writers has no wait with a limit, and does not name its holder.
absl::StatusOr<Fd> Store::TakeTurn(absl::Duration patience) const {
  const std::string path = options_.path + "/writer.lock";
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open(", path, ")"));
  const absl::Duration deadline = SteadyNow() + patience;
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, absl::StrCat("flock(", path, ")"));
    if (SteadyNow() >= deadline) {
      return absl::DeadlineExceededError(absl::StrCat("store ", options_.path, ": another writer",
                                                      Holder(fd), " is at work in it"));
    }
    absl::SleepFor(kTurnPoll);
  }
  WICKET_RETURN_IF_ERROR(NoteHolder(fd, path));
  return fd;
}

absl::StatusOr<Snapshot> Store::NewSnapshot() const {
  MDB_txn* txn = nullptr;
  if (int code = mdb_txn_begin(env_.get(), nullptr, MDB_RDONLY, &txn)) {
    return LmdbStatus(code, "mdb_txn_begin(MDB_RDONLY)", options_.path);
  }
  return Snapshot(txn, tables_);
}

absl::Status Store::CheckFile() const {
  const std::string data = options_.path + "/data.mdb";
  mdb_filehandle_t fd;
  struct stat ours, there;
  mdb_env_get_fd(env_.get(), &fd);
  if (fstat(fd, &ours) != 0) return ErrnoStatus(errno, absl::StrCat("fstat(", data, ")"));
  if (stat(data.c_str(), &there) != 0) {
    if (errno != ENOENT && errno != ENOTDIR) {
      return ErrnoStatus(errno, absl::StrCat("stat(", data, ")"));
    }
    return absl::AbortedError(absl::StrCat(data, ": was removed while in use"));
  }
  if (ours.st_ino == there.st_ino && ours.st_dev == there.st_dev) return absl::OkStatus();
  return absl::AbortedError(absl::StrCat(data, ": was replaced while in use"));
}

absl::StatusOr<Writer> Store::Write(absl::Duration patience) const {
  WICKET_ASSIGN_OR_RETURN(Fd turn, TakeTurn(patience));
  WICKET_RETURN_IF_ERROR(CheckFile());  // what is written to a replaced file is lost
  MDB_txn* txn = nullptr;
  if (int code = mdb_txn_begin(env_.get(), nullptr, 0, &txn)) {
    return LmdbStatus(code, "mdb_txn_begin()", options_.path);
  }
  return Writer(
      std::make_unique<Transaction>(std::move(turn), txn, options_.path, options_.bytes_max),
      tables_);
}

absl::StatusOr<Stats> Store::ReadStats() const {
  MDB_txn* txn = nullptr;
  if (int code = mdb_txn_begin(env_.get(), nullptr, MDB_RDONLY, &txn)) {
    return LmdbStatus(code, "mdb_txn_begin(MDB_RDONLY)", options_.path);
  }
  Stats stats;
  MDB_stat table{};
  if (mdb_stat(txn, tables_.peers, &table) == 0) stats.peers = table.ms_entries;
  if (mdb_stat(txn, tables_.prefixes, &table) == 0) stats.prefixes = table.ms_entries;
  if (mdb_stat(txn, tables_.sessions, &table) == 0) stats.sessions = table.ms_entries;
  if (mdb_stat(txn, tables_.released, &table) == 0) stats.released = table.ms_entries;
  mdb_txn_abort(txn);
  MDB_envinfo info;
  mdb_env_info(env_.get(), &info);
  stats.file_bytes = (static_cast<uint64_t>(info.me_last_pgno) + 1) * table.ms_psize;
  stats.bytes_max = info.me_mapsize;
  return stats;
}

absl::Status Store::CopyTo(const std::string& folder, bool compact) const {
  if (mkdir(folder.c_str(), 0700) != 0)
    return ErrnoStatus(errno, absl::StrCat("mkdir(", folder, ")"));
  WICKET_RETURN_IF_ERROR(
      LmdbStatus(mdb_env_copy2(env_.get(), folder.c_str(), compact ? MDB_CP_COMPACT : 0),
                 absl::StrCat("mdb_env_copy2(", folder, ")"), options_.path));
  const std::string data = folder + "/data.mdb";
  const Fd fd(open(data.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid() || fchmod(fd.get(), 0600) != 0 || fsync(fd.get()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("fsync(", data, ")"));
  }
  return absl::OkStatus();
}

}  // namespace wicket::store
