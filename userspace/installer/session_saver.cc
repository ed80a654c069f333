#include "installer/session_saver.h"

#include <memory>

#include "base/log.h"

namespace wicket::installer {
namespace {

// At most a thousand peers in a batch: calls that wait for durability share the transaction.
constexpr size_t kBatchMax = 1000;

// `no_room`: the peers for whose first session the file has no room.
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
  const auto idle = [this] { return writing_ == nullptr; };
  idle_.wait(lock, idle);
  if (!waiting_.empty()) WriteSome(&lock);
  idle_.wait(lock, idle);
}

uint64_t SessionSaver::Submit(Sessions sessions) {
  std::unique_lock lock(mutex_);
  if (!sessions.empty()) {
    for (auto& [key, session] : sessions) waiting_[key] = session;
    ++tickets_;
    CountUnsaved();
  }
  const uint64_t ticket = tickets_;
  if (!waiting_.empty() && writing_ == nullptr) WriteSome(&lock);
  return ticket;
}

std::optional<store::Session> SessionSaver::FindUnsaved(const PublicKey& key) const {
  if (unsaved() == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (const auto it = waiting_.find(key); it != waiting_.end()) return it->second;
  if (writing_ == nullptr) return std::nullopt;
  const auto it = writing_->find(key);
  return it == writing_->end() ? std::nullopt : std::optional(it->second);
}

Sessions SessionSaver::TakeUnsaved() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return writing_ == nullptr; });
  Sessions sessions(waiting_.begin(), waiting_.end());
  waiting_.clear();
  CountUnsaved();
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
  writing_ = batch;
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

// A newer session of a peer may have been submitted in the meantime; it is kept.
void SessionSaver::Written(const Batch& batch, const std::vector<PublicKey>& no_room,
                           uint64_t ticket, const absl::Status& status) {
  std::unique_lock lock(mutex_);
  writing_ = nullptr;
  bool more = false;
  if (status.ok()) {
    saved_ = ticket;
    if (!no_room.empty()) {
      Log(LogLevel::kError, "the store has no room for the first sessions of ", no_room.size(),
          " peers; they are kept in memory until it has");
    }
    more = !waiting_.empty();  // those without room wait for the next submission
    for (const PublicKey& key : no_room) waiting_.try_emplace(key, batch.at(key));
  } else {
    Log(LogLevel::kError, "saving ", batch.size(), " sessions: ", status.message(),
        "; they are kept in memory, and tried again with the next ones");
    for (const auto& [key, session] : batch) waiting_.try_emplace(key, session);
  }
  CountUnsaved();
  if (more) WriteSome(&lock);
  if (writing_ == nullptr) idle_.notify_all();
}

}  // namespace wicket::installer
