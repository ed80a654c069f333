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
  std::string path;  // a folder, made when missing, mode 0700
  // The largest size of the file. 0: what the store was last opened with, 64 GiB
  // when it is new. It can be raised and not lowered.
  uint64_t bytes_max = 0;
  bool create = true;  // false: a missing store is an error
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
  // Writes a copy of one moment into a new folder, mode 0700; `compact` leaves out what
  // is free. Writers go on meanwhile.
  absl::Status CopyTo(const std::string& folder, bool compact) const;

  // Tells whether the path still leads to the open file. A snapshot of a replaced file
  // goes on without an error; Write() asks this first.
  // Errors: Aborted when another file lies at the path, or none. Close this store before
  //         the next Open: they would share the lock file.
  // Cost:   two system calls.
  absl::Status CheckFile() const;

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
