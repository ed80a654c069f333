// A write transaction of LMDB: its lock, the room in its file, and the error that spoils it.
// For this module's sources only.
#pragma once

#include <optional>
#include <string>

#include "base/fd.h"
#include "base/status.h"

struct MDB_txn;

namespace wicket::store {

// Destroyed without Commit, it leaves no trace.
//
// Thread: one at a time.
class Transaction {
 public:
  // Owns `txn`, and the lock `turn` that keeps other writers out.
  Transaction(Fd turn, MDB_txn* txn, std::string path, uint64_t bytes_max)
      : turn_(std::move(turn)), txn_(txn), path_(std::move(path)), bytes_max_(bytes_max) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();

  absl::Status Put(unsigned table, absl::string_view key, absl::string_view value);
  // Succeeds when there is no such entry. An error names `call`.
  absl::Status Delete(unsigned table, absl::string_view key, absl::string_view call);
  // Errors: ResourceExhausted when the file has no more room than deletions need.
  // Cost:   one count of the free pages per transaction, near the end of the file only.
  absl::Status CheckRoom();

  // Turns the result of an LMDB call into a status. Any error spoils the transaction.
  absl::Status Spoil(int code, absl::string_view call);
  bool spoilt() const { return spoilt_; }

  // Errors: the disk's; nothing is then written.
  absl::Status Commit();

  MDB_txn* get() const { return txn_; }  // null after Commit
  const std::string& path() const { return path_; }

 private:
  absl::Status MapFull(absl::string_view call) const;

  Fd turn_;  // outlives the transaction
  MDB_txn* txn_;
  std::string path_;
  uint64_t bytes_max_;
  bool spoilt_ = false;
  std::optional<absl::Status> room_;  // judged when first needed
};

}  // namespace wicket::store
