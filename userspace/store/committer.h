// The one writer of a process: many changes share a transaction and its fsync.
//
//   any thread --Submit--> waiting --+   while one commit is on its way to the
//   any thread --Submit--> waiting --+   disk, the next batch gathers by itself
//                                    v
//                  begin | change, change, ... | commit + fsync | done, done, ...
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "store/store.h"

namespace wicket::store {

// Thread: Submit from any.
class Committer {
 public:
  // Runs on the writer's thread, and once more, alone, when another change spoils
  // the batch. An error that does not spoil the transaction concerns this change
  // only; what it had written then stays.
  using Change = std::function<absl::Status(Writer&)>;
  // Called once, on the writer's thread: ok when the change is durable. The status is
  // the receiver's own, to be taken to another thread.
  using Done = std::function<void(absl::Status)>;

  // How long a batch waits for another process's turn before its changes fail.
  static constexpr absl::Duration kPatience = absl::Seconds(5);

  explicit Committer(const Store* store);
  // Commits what was submitted, or fails it.
  ~Committer();

  void Submit(Change change, Done done);
  // Submits and waits. Not from the writer's thread.
  absl::Status Commit(Change change);

 private:
  struct Item {
    Change change;
    Done done;
  };
  void Loop();
  void CommitBatch(std::vector<Item>* batch);
  absl::Status CommitTogether(const std::vector<Item>& batch, std::vector<absl::Status>* results);

  const Store* store_;
  std::mutex mutex_;
  std::condition_variable submitted_;
  std::vector<Item> waiting_;
  size_t wanted_ = 1;  // wakes the writer
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace wicket::store
