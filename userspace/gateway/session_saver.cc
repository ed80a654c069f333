#include "gateway/session_saver.h"

#include <memory>

#include "base/log.h"

namespace wicket::gateway {
namespace {

// Of a thousand peers at most: calls that want to be durable share the transaction.
constexpr size_t kBatchMax = 1000;

absl::Status PutSessions(store::Writer& writer,
                         const absl::flat_hash_map<PublicKey, store::Session>& sessions) {
  absl::Status full;  // no room for somebody's first session; the others have theirs
  for (const auto& [key, session] : sessions) {
    WICKET_ASSIGN_OR_RETURN(const bool stored, writer.HasPeer(key));
    if (!stored) continue;
    const absl::Status put = writer.PutSession(key, session);
    if (!put.ok() && (writer.spoilt() || !absl::IsResourceExhausted(put))) return put;
    full.Update(put);
  }
  return full;
}

}  // namespace

SessionSaver::~SessionSaver() {
  std::unique_lock lock(mutex_);
  const auto idle = [this] { return !writing_; };
  idle_.wait(lock, idle);
  if (!waiting_.empty()) WriteSome(&lock);
  idle_.wait(lock, idle);
}

uint64_t SessionSaver::Submit(Sessions sessions) {
  std::unique_lock lock(mutex_);
  if (!sessions.empty()) {
    for (auto& [key, session] : sessions) waiting_[key] = session;
    ++tickets_;
  }
  if (!waiting_.empty() && !writing_) WriteSome(&lock);
  return tickets_;
}

uint64_t SessionSaver::SavedUpTo() const {
  const std::lock_guard lock(mutex_);
  return saved_;
}

void SessionSaver::WriteSome(std::unique_lock<std::mutex>* lock) {
  auto batch = std::make_shared<Batch>();
  uint64_t ticket = saved_;
  if (waiting_.size() <= kBatchMax) {
    batch->swap(waiting_);
    ticket = tickets_;
  } else {
    while (batch->size() < kBatchMax) batch->insert(waiting_.extract(waiting_.begin()));
  }
  writing_ = true;
  lock->unlock();
  committer_->Submit(
      [batch](store::Writer& writer) { return PutSessions(writer, *batch); },
      [this, batch, ticket](const absl::Status& status) { Written(*batch, ticket, status); });
  lock->lock();
}

void SessionSaver::Written(const Batch& batch, uint64_t ticket, const absl::Status& status) {
  std::unique_lock lock(mutex_);
  writing_ = false;
  if (status.ok()) {
    saved_ = ticket;
    if (!waiting_.empty()) WriteSome(&lock);
  } else {
    Log(LogLevel::kError, "saving ", batch.size(), " sessions: ", status.message(),
        "; tried again with the next ones");
    for (const auto& [key, session] : batch) waiting_.try_emplace(key, session);  // newer ones stay
  }
  if (!writing_) idle_.notify_all();
}

}  // namespace wicket::gateway
