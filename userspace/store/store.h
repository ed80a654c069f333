// The peers of all devices, in an LMDB file; see record.h for what lies in it.
//
//   Store      the open file; any number of threads and processes
//   Snapshot   one thread's view, renewed per batch of packets; never waits
//   Writer     the one writing transaction; durable when Commit() returns
//
// The address space for the largest file is reserved at open, and the
// file grows inside it as it is written, so nothing is ever remapped under a
// reader.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "base/fd.h"
#include "base/status.h"
#include "store/record.h"

struct MDB_env;
struct MDB_txn;

namespace wicket::store {

struct Options {
  std::string path;  // a folder, made when missing, mode 0700
  // The largest size of the file. 0: what the store was last opened with, 64 GiB
  // when it is new. It can be raised and not lowered.
  uint64_t bytes_max = 0;
  bool create = true;  // false: a missing store is an error
};

// The four tables.
struct Tables {
  unsigned peers, prefixes, sessions, meta;
};

// One thread's view of the store.
//
// Thread:   one at a time.
// Lifetime: what Find and View return points into the map and is good until the
//           next Renew or Release.
class Snapshot {
 public:
  Snapshot(Snapshot&&) noexcept;
  Snapshot& operator=(Snapshot&&) noexcept;
  ~Snapshot();

  // Moves the view to the latest commit. Cost: no allocation, no lock.
  absl::Status Renew();
  // Lets the writer reuse the pages this view holds; Renew before the next use.
  void Release();

  enum class Found { kYes, kNo, kDamaged };
  Found ViewPeer(const PublicKey& key, PeerView* view) const;
  // Returns: nullopt when absent or damaged.
  std::optional<Session> FindSession(const PublicKey& key) const;
  // Errors: NotFound; DataLoss when the record is damaged.
  absl::StatusOr<Peer> FindPeer(const PublicKey& key) const;
  // The key that owns exactly this prefix on this device.
  std::optional<PublicKey> FindPrefix(absl::string_view device, const Prefix& prefix) const;

  // Calls `visit` for the peers after `*cursor`, in key order, at most `count`,
  // and moves the cursor. Returns: how many were visited; fewer than `count` at the end.
  // Errors: DataLoss names the first damaged record.
  absl::StatusOr<size_t> Walk(std::optional<PublicKey>* cursor, size_t count,
                              const std::function<void(Peer)>& visit) const;

 private:
  friend class Store;
  Snapshot(MDB_txn* txn, Tables tables) : txn_(txn), tables_(tables) {}

  MDB_txn* txn_ = nullptr;
  Tables tables_{};
  bool live_ = true;
};

// The writing transaction. Dropped without Commit, it leaves no trace.
//
// Thread: one at a time in all processes; Store::Write waits for its turn.
class Writer {
 public:
  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) = delete;
  ~Writer();

  // Creates or replaces a peer and its prefixes.
  // Errors: AlreadyExists when a prefix is another peer's; InvalidArgument when
  //         the format cannot hold it; ResourceExhausted when the store is full.
  //         After an error the transaction can only be dropped.
  absl::Status PutPeer(const Peer& peer);
  // Errors: NotFound.
  absl::Status DeletePeer(const PublicKey& key);
  absl::Status PutSession(const PublicKey& key, const Session& session);
  absl::Status DeleteSession(const PublicKey& key);
  std::optional<Session> FindSession(const PublicKey& key) const;
  absl::StatusOr<bool> HasPeer(const PublicKey& key) const;

  // Errors: the disk's; nothing is then written.
  absl::Status Commit();

 private:
  friend class Store;
  Writer(Fd turn, MDB_txn* txn, Tables tables, std::string path, uint64_t bytes_max)
      : turn_(std::move(turn)),
        txn_(txn),
        tables_(tables),
        path_(std::move(path)),
        bytes_max_(bytes_max) {}
  absl::Status Put(unsigned table, absl::string_view key, absl::string_view value);
  absl::Status Error(int code, absl::string_view call) const;
  absl::Status RemovePrefixes(const Peer& peer);

  Fd turn_;  // outlives the transaction
  MDB_txn* txn_ = nullptr;
  Tables tables_{};
  std::string path_;
  uint64_t bytes_max_ = 0;
};

struct Stats {
  uint64_t peers = 0;
  uint64_t prefixes = 0;
  uint64_t sessions = 0;
  uint64_t file_bytes = 0;
};

class Store {
 public:
  // Errors: NotFound, DataLoss (damaged or truncated file), FailedPrecondition
  //         (unknown format), PermissionDenied; each names the path.
  static absl::StatusOr<Store> Open(const Options& options);
  Store(Store&&) noexcept = default;
  Store& operator=(Store&&) noexcept = default;

  // Takes the lock that only one daemon can hold; kept until the store is closed.
  // Errors: FailedPrecondition names the process that holds it.
  absl::Status LockForDaemon();

  absl::StatusOr<Snapshot> NewSnapshot() const;
  // Waits for the other writers, in all processes, at most for `patience`.
  // Errors: DeadlineExceeded names the process that writes.
  absl::StatusOr<Writer> Write(absl::Duration patience = absl::InfiniteDuration()) const;
  absl::StatusOr<Stats> ReadStats() const;
  // Frees the slots of readers that were killed; their views hold pages for ever.
  void CheckReaders() const;
  const std::string& path() const { return options_.path; }

 private:
  struct CloseEnv {
    void operator()(MDB_env* env) const;
  };
  Store(Options options, std::unique_ptr<MDB_env, CloseEnv> env)
      : options_(std::move(options)), env_(std::move(env)) {}

  absl::StatusOr<Fd> TakeTurn(absl::Duration patience) const;
  absl::Status OpenTables();
  absl::Status OpenTablesIn(MDB_txn* txn, bool create);

  Options options_;
  Fd lock_;
  std::unique_ptr<MDB_env, CloseEnv> env_;
  Tables tables_{};
};

}  // namespace wicket::store
