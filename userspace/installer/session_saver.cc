#include "installer/session_saver.h"

#include <memory>

#include "base/log.h"

namespace wicket::installer {
namespace {

// Of a thousand peers at most: calls that want to be durable share the transaction.
constexpr size_t kBatchMax = 1000;

// `no_room`: those whose first session the file has no room for.
absl::Status PutSessions(store::Writer& writer,
                         const absl::flat_hash_map<PublicKey, store::Session>& sessions,
                         std::vector<PublicKey>* no_room) {
  no_room->clear();
  for (const auto& [key, session] : sessions) {
    WICKET_ASSIGN_OR_RETURN(const bool stored, writer.HasPeer(key));
    if (!stored) continue;
    const absl::Status put = writer.PutSession(key, session);
    if (!put.ok() && (writer.spoilt() || !absl::IsResourceExhausted(put))) return put;
    if (!put.ok()) no_room->push_back(key);
  }
  return absl::OkStatus();
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

bool SessionSaver::Waits(const PublicKey& key) const {
  const std::lock_guard lock(mutex_);
  return no_room_.contains(key);
}

Sessions SessionSaver::TakeUnsaved() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return !writing_; });
  Sessions sessions(waiting_.begin(), waiting_.end());
  waiting_.clear();
  return sessions;
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
  auto no_room = std::make_shared<std::vector<PublicKey>>();
  committer_->Submit(
      [batch, no_room](store::Writer& writer) {
        return PutSessions(writer, *batch, no_room.get());
      },
      [this, batch, no_room, ticket](const absl::Status& status) {
        Written(*batch, *no_room, ticket, status);
      });
  lock->lock();
}

void SessionSaver::Written(const Batch& batch, const std::vector<PublicKey>& no_room,
                           uint64_t ticket, const absl::Status& status) {
  std::unique_lock lock(mutex_);
  writing_ = false;
  if (status.ok()) {
    // Who finds the ticket reached finds these, too.
    saved_ = ticket;
    if (!no_room_.empty()) {
      for (const auto& [key, session] : batch) no_room_.erase(key);
    }
    no_room_.insert(no_room.begin(), no_room.end());
    if (!no_room.empty()) {
      Log(LogLevel::kError, "the store has no room for the first sessions of ", no_room.size(),
          " peers; they stay in the device until it has");
    }
    const bool more = !waiting_.empty();  // these alone wait for the next submission
    for (const PublicKey& key : no_room) waiting_.try_emplace(key, batch.at(key));
    if (more) WriteSome(&lock);
  } else {
    Log(LogLevel::kError, "saving ", batch.size(), " sessions: ", status.message(),
        "; tried again with the next ones");
    for (const auto& [key, session] : batch) waiting_.try_emplace(key, session);  // newer ones stay
  }
  if (!writing_) idle_.notify_all();
}

}  // namespace wicket::installer
