// Group commit: one thread writes for a whole process, and many changes share a
// transaction and its fsync.
//
//   any thread --Submit--> waiting --+   while one commit is in flight to the
//   any thread --Submit--> waiting --+   disk, the next batch gathers
//                                    v
//                  begin | change, change, ... | commit + fsync | done, done, ...
#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/task_clock.h"
#include "base/histogram.h"
#include "store/store.h"

namespace wicket::store {

// Thread: any.
class Committer {
 public:
  // One change, called on the writer's thread; not at all while no transaction can begin. When a
  // change spoils the transaction of a batch, each gets one of its own, and may so be called twice.
  // An error that does not spoil the transaction fails this change only; what the change wrote
  // before the error is committed.
  using Change = std::function<absl::Status(Writer&)>;
  // Called once, on the writer's thread: ok when the change is durable. The status shares
  // nothing with another one, so it may move to any thread.
  using Done = std::function<void(absl::Status)>;

  // The limit of a batch's wait for another process's writer. Beyond it the changes fail.
  static constexpr absl::Duration kPatience = absl::Seconds(5);

  explicit Committer(const Store* store);
  // Commits or fails each change that was submitted.
  ~Committer();

  void Submit(Change change, Done done);
  // Submits a change and waits for its result. Not from the writer's thread.
  absl::Status Commit(Change change);
  // The times that transactions took, since the start, in ns: changes, commit and fsync.
  const Histogram& times() const { return times_; }
  // Of the transaction under way.
  const TaskClock& task() const { return task_; }

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
  size_t wanted_ = 1;  // as many waiting changes wake the writer
  bool stop_ = false;
  Histogram times_;
  TaskClock task_;
  std::thread thread_;
};

}  // namespace wicket::store
