#include "store/committer.h"

#include <pthread.h>

namespace wicket::store {
namespace {

constexpr size_t kBatchMax = 1024;  // bounds what one commit takes

// One that shares nothing with the other.
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
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({std::move(change), std::move(done)});
  }
  submitted_.notify_one();
}

absl::Status Committer::Commit(Change change) {
  std::mutex mutex;
  std::condition_variable ended;
  std::optional<absl::Status> result;
  Submit(std::move(change), [&](absl::Status status) {
    const std::lock_guard lock(mutex);
    result = std::move(status);
    ended.notify_one();
  });
  std::unique_lock lock(mutex);
  ended.wait(lock, [&] { return result.has_value(); });
  return *std::move(result);
}

void Committer::Loop() {
  pthread_setname_np(pthread_self(), "committer");
  std::unique_lock lock(mutex_);
  for (;;) {
    submitted_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
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
    CommitBatch(&batch);
    lock.lock();
  }
}

void Committer::CommitBatch(std::vector<Item>* batch) {
  std::vector<absl::Status> results;
  absl::Status spoilt = CommitTogether(*batch, &results);
  if (spoilt.ok()) {
    for (size_t i = 0; i < batch->size(); ++i) (*batch)[i].done(std::move(results[i]));
    return;
  }
  // With no turn, or no disk, each alone would fare no better.
  const bool all_ran = results.size() == batch->size();
  if (batch->size() == 1 || results.empty() || (all_ran && results.back().ok())) {
    for (const Item& item : *batch) item.done(CopyOf(spoilt));
    return;
  }
  // Perhaps one of them is to blame; alone, the others succeed.
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
  for (const Item& item : batch) {
    results->push_back(item.change(writer));
    if (writer.spoilt()) return results->back();
  }
  return writer.Commit();
}

}  // namespace wicket::store
