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

namespace wicket::store {
namespace {

constexpr unsigned kReadersMax = 1024;
constexpr absl::Duration kTurnPoll = absl::Milliseconds(2);
constexpr char kFormatKey[] = "format";
constexpr uint64_t kBytesMaxDefault = uint64_t{64} << 30;

MDB_val Val(absl::string_view bytes) { return {bytes.size(), const_cast<char*>(bytes.data())}; }
MDB_val Val(const PublicKey& key) { return {kKeyBytes, const_cast<uint8_t*>(key.bytes.data())}; }
absl::string_view View(const MDB_val& value) {
  return {static_cast<const char*>(value.mv_data), value.mv_size};
}

absl::Status LmdbStatus(int code, absl::string_view call, absl::string_view path) {
  if (code == MDB_SUCCESS) return absl::OkStatus();
  const std::string message = absl::StrCat(call, ": ", mdb_strerror(code), " (store ", path, ")");
  switch (code) {
    case MDB_NOTFOUND:
      return absl::NotFoundError(message);
    case MDB_CORRUPTED:
    case MDB_PAGE_NOTFOUND:
    case MDB_INVALID:
    case MDB_PANIC:
      return absl::DataLossError(absl::StrCat(
          message, "; the file is damaged: restore a backup or import the peers anew"));
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

// What a lock file says of who holds it: ", process 17," or nothing.
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

// --- Snapshot ---------------------------------------------------------------

Snapshot::Snapshot(Snapshot&& other) noexcept
    : txn_(std::exchange(other.txn_, nullptr)), tables_(other.tables_), live_(other.live_) {}

Snapshot& Snapshot::operator=(Snapshot&& other) noexcept {
  std::swap(txn_, other.txn_);
  std::swap(tables_, other.tables_);
  std::swap(live_, other.live_);
  return *this;
}

Snapshot::~Snapshot() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

absl::Status Snapshot::Renew() {
  Release();
  const int code = mdb_txn_renew(txn_);
  live_ = code == MDB_SUCCESS;
  return LmdbStatus(code, "mdb_txn_renew()", "snapshot");
}

void Snapshot::Release() {
  if (live_) mdb_txn_reset(txn_);
  live_ = false;
}

Snapshot::Found Snapshot::ViewPeer(const PublicKey& key, PeerView* view) const {
  MDB_val lmdb_key = Val(key), value;
  const int code = mdb_get(txn_, tables_.peers, &lmdb_key, &value);
  if (code == MDB_NOTFOUND) return Found::kNo;
  if (code != MDB_SUCCESS) return Found::kDamaged;
  const auto found = store::ViewPeer(key, View(value));
  if (!found) return Found::kDamaged;
  *view = *found;
  return Found::kYes;
}

std::optional<Session> Snapshot::FindSession(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  if (mdb_get(txn_, tables_.sessions, &lmdb_key, &value) != MDB_SUCCESS) return std::nullopt;
  return DecodeSession(key, View(value));
}

absl::StatusOr<Peer> Snapshot::FindPeer(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  const int code = mdb_get(txn_, tables_.peers, &lmdb_key, &value);
  if (code == MDB_NOTFOUND) {
    return absl::NotFoundError(absl::StrCat("peer ", Abbreviate(key), " is not stored"));
  }
  if (code != MDB_SUCCESS) return LmdbStatus(code, "mdb_get(peers)", "snapshot");
  std::optional<Peer> peer = DecodePeer(key, View(value));
  if (!peer) return Damaged(key);
  return std::move(*peer);
}

std::optional<PublicKey> Snapshot::FindPrefix(absl::string_view device,
                                              const Prefix& prefix) const {
  const std::string key = PrefixKey(device, prefix);
  MDB_val lmdb_key = Val(key), value;
  if (mdb_get(txn_, tables_.prefixes, &lmdb_key, &value) != MDB_SUCCESS ||
      value.mv_size != kKeyBytes) {
    return std::nullopt;
  }
  PublicKey owner;
  memcpy(owner.bytes.data(), value.mv_data, kKeyBytes);
  return owner;
}

absl::StatusOr<size_t> Snapshot::Walk(std::optional<PublicKey>* cursor, size_t count,
                                      const std::function<void(Peer)>& visit) const {
  MDB_cursor* raw = nullptr;
  if (int code = mdb_cursor_open(txn_, tables_.peers, &raw)) {
    return LmdbStatus(code, "mdb_cursor_open(peers)", "snapshot");
  }
  const std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> close(raw, mdb_cursor_close);
  MDB_val key{}, value{};
  int code;
  if (*cursor) {
    key = Val(**cursor);
    code = mdb_cursor_get(raw, &key, &value, MDB_SET_RANGE);
    if (code == MDB_SUCCESS && key.mv_size == kKeyBytes &&
        memcmp(key.mv_data, (*cursor)->bytes.data(), kKeyBytes) == 0) {
      code = mdb_cursor_get(raw, &key, &value, MDB_NEXT);
    }
  } else {
    code = mdb_cursor_get(raw, &key, &value, MDB_FIRST);
  }
  size_t visited = 0;
  for (; code == MDB_SUCCESS && visited < count; ++visited) {
    PublicKey public_key;
    if (key.mv_size != kKeyBytes) return absl::DataLossError("peers: a key is not 32 bytes");
    memcpy(public_key.bytes.data(), key.mv_data, kKeyBytes);
    std::optional<Peer> peer = DecodePeer(public_key, View(value));
    if (!peer) return Damaged(public_key);
    visit(std::move(*peer));
    *cursor = public_key;
    code = mdb_cursor_get(raw, &key, &value, MDB_NEXT);
  }
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) {
    return LmdbStatus(code, "mdb_cursor_get(peers)", "snapshot");
  }
  return visited;
}

// --- Writer -----------------------------------------------------------------

Writer::Writer(Writer&& other) noexcept
    : turn_(std::move(other.turn_)),
      txn_(std::exchange(other.txn_, nullptr)),
      tables_(other.tables_),
      path_(std::move(other.path_)),
      bytes_max_(other.bytes_max_) {}

Writer::~Writer() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

absl::Status Writer::Error(int code, absl::string_view call) const {
  if (code == MDB_MAP_FULL) {
    return absl::ResourceExhaustedError(absl::StrCat(call, ": the store ", path_,
                                                     " has reached its limit of ", bytes_max_,
                                                     " bytes (raise store.bytes_max)"));
  }
  return LmdbStatus(code, call, path_);
}

absl::Status Writer::Put(unsigned table, absl::string_view key, absl::string_view value) {
  MDB_val lmdb_key = Val(key), lmdb_value = Val(value);
  return Error(mdb_put(txn_, table, &lmdb_key, &lmdb_value, 0), "mdb_put()");
}

absl::Status Writer::RemovePrefixes(const Peer& peer) {
  for (const Prefix& prefix : peer.config.allowed_ips) {
    const std::string key = PrefixKey(peer.device, prefix);
    MDB_val lmdb_key = Val(key);
    const int code = mdb_del(txn_, tables_.prefixes, &lmdb_key, nullptr);
    if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return Error(code, "mdb_del(prefixes)");
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> Writer::HasPeer(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  const int code = mdb_get(txn_, tables_.peers, &lmdb_key, &value);
  if (code == MDB_NOTFOUND) return false;
  if (code != MDB_SUCCESS) return Error(code, "mdb_get(peers)");
  return true;
}

absl::Status Writer::PutPeer(const Peer& peer) {
  const PublicKey& key = peer.config.public_key;
  WICKET_ASSIGN_OR_RETURN(const std::string record, EncodePeer(peer));
  MDB_val lmdb_key = Val(key), old;
  const int code = mdb_get(txn_, tables_.peers, &lmdb_key, &old);
  if (code == MDB_SUCCESS) {
    if (View(old) == record) return absl::OkStatus();
    // A damaged record is replaced; the prefixes it held are then found owned by
    // this same key below.
    if (const auto before = DecodePeer(key, View(old))) {
      WICKET_RETURN_IF_ERROR(RemovePrefixes(*before));
    }
  } else if (code != MDB_NOTFOUND) {
    return Error(code, "mdb_get(peers)");
  }
  for (const Prefix& prefix : peer.config.allowed_ips) {
    const std::string prefix_key = PrefixKey(peer.device, prefix);
    MDB_val lmdb_prefix = Val(prefix_key), owner = Val(key);
    const int put = mdb_put(txn_, tables_.prefixes, &lmdb_prefix, &owner, MDB_NOOVERWRITE);
    if (put == MDB_KEYEXIST && owner.mv_size == kKeyBytes) {
      PublicKey other;
      memcpy(other.bytes.data(), owner.mv_data, kKeyBytes);
      if (other == key) continue;
      return absl::AlreadyExistsError(absl::StrCat(ToString(prefix), " on ", peer.device,
                                                   " belongs to peer ", Abbreviate(other)));
    }
    if (put != MDB_SUCCESS) return Error(put, "mdb_put(prefixes)");
  }
  return Put(tables_.peers,
             absl::string_view(reinterpret_cast<const char*>(key.bytes.data()), kKeyBytes), record);
}

absl::Status Writer::DeletePeer(const PublicKey& key) {
  MDB_val lmdb_key = Val(key), old;
  const int code = mdb_get(txn_, tables_.peers, &lmdb_key, &old);
  if (code == MDB_NOTFOUND) {
    return absl::NotFoundError(absl::StrCat("peer ", Abbreviate(key), " is not stored"));
  }
  if (code != MDB_SUCCESS) return Error(code, "mdb_get(peers)");
  if (const auto before = DecodePeer(key, View(old))) {
    WICKET_RETURN_IF_ERROR(RemovePrefixes(*before));
  }
  WICKET_RETURN_IF_ERROR(Error(mdb_del(txn_, tables_.peers, &lmdb_key, nullptr), "mdb_del(peers)"));
  const absl::Status session = DeleteSession(key);
  return absl::IsNotFound(session) ? absl::OkStatus() : session;
}

absl::Status Writer::PutSession(const PublicKey& key, const Session& session) {
  return Put(tables_.sessions,
             absl::string_view(reinterpret_cast<const char*>(key.bytes.data()), kKeyBytes),
             EncodeSession(key, session));
}

absl::Status Writer::DeleteSession(const PublicKey& key) {
  MDB_val lmdb_key = Val(key);
  return Error(mdb_del(txn_, tables_.sessions, &lmdb_key, nullptr), "mdb_del(sessions)");
}

std::optional<Session> Writer::FindSession(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  if (mdb_get(txn_, tables_.sessions, &lmdb_key, &value) != MDB_SUCCESS) return std::nullopt;
  return DecodeSession(key, View(value));
}

absl::Status Writer::Commit() {
  return Error(mdb_txn_commit(std::exchange(txn_, nullptr)), "mdb_txn_commit()");
}

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
                                            " bytes; restore a backup or import the peers anew"));
  }
  MDB_env* raw = nullptr;
  if (int code = mdb_env_create(&raw)) return LmdbStatus(code, "mdb_env_create()", options.path);
  std::unique_ptr<MDB_env, CloseEnv> env(raw);
  mdb_env_set_maxdbs(raw, 8);
  mdb_env_set_maxreaders(raw, kReadersMax);
  const bool exists = stat(data.c_str(), &before) == 0 && before.st_size > 0;
  if (!exists) {
    mdb_env_set_mapsize(raw, options.bytes_max ? options.bytes_max : kBytesMaxDefault);
  }  // else LMDB takes what the file was last opened with, so that all processes agree
  // NOTLS: a reader slot belongs to the snapshot, not the thread. NORDAHEAD: keys
  // are random, so read-ahead would fetch pages nobody asked for.
  if (int code = mdb_env_open(raw, options.path.c_str(), MDB_NOTLS | MDB_NORDAHEAD, 0600)) {
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
                                            " bytes; restore a backup or import the peers anew"));
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
    if (create || !absl::IsNotFound(opened)) return opened;
  }
  return absl::OkStatus();
}

absl::Status Store::OpenTablesIn(MDB_txn* txn, bool create) {
  const std::pair<const char*, unsigned*> tables[] = {{"peers", &tables_.peers},
                                                      {"prefixes", &tables_.prefixes},
                                                      {"sessions", &tables_.sessions},
                                                      {"meta", &tables_.meta}};
  for (const auto& [name, table] : tables) {
    if (int code = mdb_dbi_open(txn, name, create ? MDB_CREATE : 0, table)) {
      return LmdbStatus(code, absl::StrCat("mdb_dbi_open(", name, ")"), options_.path);
    }
  }
  MDB_val key = Val(absl::string_view(kFormatKey)), value;
  const int code = mdb_get(txn, tables_.meta, &key, &value);
  uint32_t format = kFormat;
  if (code == MDB_NOTFOUND && create) {
    value = {sizeof(format), &format};
    return LmdbStatus(mdb_put(txn, tables_.meta, &key, &value, 0), "mdb_put(meta)", options_.path);
  }
  if (code != MDB_SUCCESS) return LmdbStatus(code, "mdb_get(meta)", options_.path);
  format = 0;
  if (value.mv_size == sizeof(format)) memcpy(&format, value.mv_data, sizeof(format));
  if (format == kFormat) return absl::OkStatus();
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

// LMDB has a lock for this too, but one that cannot be waited for with a limit,
// and that does not say who holds it.
absl::StatusOr<Fd> Store::TakeTurn(absl::Duration patience) const {
  const std::string path = options_.path + "/writer.lock";
  Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open(", path, ")"));
  const absl::Time deadline = absl::Now() + patience;
  while (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return ErrnoStatus(errno, absl::StrCat("flock(", path, ")"));
    if (absl::Now() >= deadline) {
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

absl::StatusOr<Writer> Store::Write(absl::Duration patience) const {
  WICKET_ASSIGN_OR_RETURN(Fd turn, TakeTurn(patience));
  MDB_txn* txn = nullptr;
  if (int code = mdb_txn_begin(env_.get(), nullptr, 0, &txn)) {
    return LmdbStatus(code, "mdb_txn_begin()", options_.path);
  }
  return Writer(std::move(turn), txn, tables_, options_.path, options_.bytes_max);
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
  mdb_txn_abort(txn);
  MDB_envinfo info;
  mdb_env_info(env_.get(), &info);
  stats.file_bytes = (static_cast<uint64_t>(info.me_last_pgno) + 1) * table.ms_psize;
  return stats;
}

}  // namespace wicket::store
