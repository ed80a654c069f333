// The peers of all devices, in an LMDB file; record.h has the format.
//
//   Store      the open file; shared by any number of threads and processes
//   Snapshot   a read transaction of one thread, renewed per batch of packets; never waits
//   Writer     the write transaction, one in all processes; durable when Commit() returns
//
// Open() reserves address space for the largest file, and the file grows inside it. So the
// map never moves under a reader.
#pragma once

#include <memory>
#include <string>

#include "base/fd.h"
#include "base/status.h"
#include "store/snapshot.h"
#include "store/writer.h"

struct MDB_env;
struct MDB_txn;

namespace wicket::store {

struct Options {
  std::string path;  // a folder, created with mode 0700
  // The largest size of the file. It can be raised, not lowered. 0: the size that the store
  // was last opened with, or 64 GiB for a new one.
  uint64_t bytes_max = 0;
  bool create = true;  // false: a missing store is an error
  // Nothing is written: a store of an older format, which is rewritten otherwise, is NotFound.
  bool read_only = false;
};

struct Stats {
  uint64_t peers = 0;
  uint64_t prefixes = 0;
  uint64_t sessions = 0;
  uint64_t released = 0;  // prefixes that wait to be given out again, in all pools
  uint64_t file_bytes = 0;
  uint64_t bytes_max = 0;  // the largest size of the file
};

// Thread: any, for const methods.
class Store {
 public:
  // Makes tables that are missing, and writes kFormat over an older one, also without `create`.
  // Requires: this process has no other Store of the path open.
  // Errors: NotFound; DataLoss for a damaged or truncated file; FailedPrecondition for an
  //         unknown format; PermissionDenied. Each names the path.
  // Source: [lmdb.h mdb_env_open]
  static absl::StatusOr<Store> Open(const Options& options);
  Store(Store&&) noexcept = default;
  Store& operator=(Store&&) noexcept = default;

  // Takes the lock that only one daemon can hold, until the store is closed.
  // Errors: FailedPrecondition names the process that holds it.
  absl::Status LockForDaemon();

  absl::StatusOr<Snapshot> NewSnapshot() const;
  // Waits for the writers of all processes, at most for `patience` of the steady clock.
  // Errors: DeadlineExceeded names the process that writes; Aborted as of CheckFile.
  absl::StatusOr<Writer> Write(absl::Duration patience = absl::InfiniteDuration()) const;
  absl::StatusOr<Stats> ReadStats() const;
  // Copies one commit into a new folder, mode 0700. `compact` leaves out the free pages.
  // Writers are not held up.
  absl::Status CopyTo(const std::string& folder, bool compact) const;

  // Compares the file at the path with the open one. A snapshot of a replaced file reads on
  // without an error; Write() asks this first.
  // Errors: Aborted when another file lies at the path, or none. Close this store before
  //         the next Open: they would share the lock file.
  // Cost:   two system calls.
  absl::Status CheckFile() const;

  // Frees the slots of readers that were killed. Until then their snapshots keep old pages
  // from reuse.
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
