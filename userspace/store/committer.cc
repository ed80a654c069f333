#include "store/committer.h"

#include "base/clock.h"
#include "base/thread.h"

namespace wicket::store {
namespace {

constexpr size_t kBatchMax = 1024;  // bounds what one commit takes
// Callers that were answered together tend to call again together. To wait for as many
// merges their fsyncs, and costs a lone caller nothing.
constexpr auto kGather = std::chrono::microseconds(300);

// A copy that shares nothing with the original.
absl::Status CopyOf(const absl::Status& status) {
  return absl::Status(status.code(), status.message());
}

}  // namespace

Committer::Committer(const Store* store) : store_(store), thread_([this] { Loop(); }) {}

Committer::~Committer() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  submitted_.notify_one();
  thread_.join();
}

void Committer::Submit(Change change, Done done) {
  bool enough;
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(change), std::move(done)});
    enough = waiting_.size() >= wanted_;
  }
  if (enough) submitted_.notify_one();
}

absl::Status Committer::Commit(Change change) {
  struct Outcome {
    std::mutex mutex;
    std::condition_variable known;
    std::optional<absl::Status> status;
  };
  // Shared, so that the waiter can be notified after the lock is free again. It would wake to
  // a held lock, and sleep once more, otherwise.
  const auto outcome = std::make_shared<Outcome>();
  Submit(std::move(change), [outcome](absl::Status status) {
    {
      const std::lock_guard lock(outcome->mutex);
      outcome->status = std::move(status);
    }
    outcome->known.notify_one();
  });
  std::unique_lock lock(outcome->mutex);
  outcome->known.wait(lock, [&] { return outcome->status.has_value(); });
  return *std::move(outcome->status);
}

void Committer::Loop() {
  NameThread("committer");
  DropRights();
  std::unique_lock lock(mutex_);
  for (;;) {
    const auto enough = [this] { return stop_ || waiting_.size() >= wanted_; };
    if (wanted_ > 1) submitted_.wait_for(lock, kGather, enough);
    wanted_ = 1;
    submitted_.wait(lock, enough);
    if (waiting_.empty()) return;
    std::vector<Item> batch;
    if (waiting_.size() <= kBatchMax) {
      batch.swap(waiting_);
    } else {
      const auto end = waiting_.begin() + kBatchMax;
      batch.assign(std::make_move_iterator(waiting_.begin()), std::make_move_iterator(end));
      waiting_.erase(waiting_.begin(), end);
    }
    lock.unlock();
    task_.Begin();
    CommitBatch(&batch);
    task_.End();
    lock.lock();
    wanted_ = batch.size();
  }
}

void Committer::CommitBatch(std::vector<Item>* batch) {
  std::vector<absl::Status> results;
  absl::Status spoilt = CommitTogether(*batch, &results);
  if (spoilt.ok()) {
    for (size_t i = 0; i < batch->size(); ++i) (*batch)[i].done(std::move(results[i]));
    return;
  }
  // Without the lock, or without a working disk, each alone would fail as well.
  const bool all_ran = results.size() == batch->size();
  if (batch->size() == 1 || results.empty() || (all_ran && results.back().ok())) {
    for (const Item& item : *batch) item.done(CopyOf(spoilt));
    return;
  }
  // One change may be to blame; alone, the others succeed.
  bool hopeless = false;
  for (const Item& item : *batch) {
    if (!hopeless) {
      std::vector<Item> alone{item};
      spoilt = CommitTogether(alone, &results);
      hopeless = !spoilt.ok() && (results.empty() || results[0].ok());
    }
    item.done(spoilt.ok() ? std::move(results[0]) : CopyOf(spoilt));
  }
}

// Errors: those that leave no change done.
absl::Status Committer::CommitTogether(const std::vector<Item>& batch,
                                       std::vector<absl::Status>* results) {
  results->clear();
  WICKET_ASSIGN_OR_RETURN(Writer writer, store_->Write(kPatience));
  const uint64_t began_ns = SteadyNanos();
  for (const Item& item : batch) {
    results->push_back(item.change(writer));
    if (writer.spoilt()) return results->back();
  }
  absl::Status committed = writer.Commit();
  times_.Record(SteadyNanos() - began_ns);
  return committed;
}

}  // namespace wicket::store
