#include "installer/session_saver.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "base/clock.h"
#include "base/log.h"

namespace wicket::installer {
namespace {

// At most a thousand peers in a batch: calls that wait for durability share the transaction.
constexpr size_t kBatchMax = 1000;
// Moved under the lock at once, so no other installer waits for a long submission.
constexpr size_t kSliceMax = 256;
constexpr absl::Duration kTryAgain = absl::Seconds(1);

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
  size_t begin = 0;
  for (; begin + kSliceMax < sessions.size(); begin += kSliceMax) {
    const std::lock_guard lock(mutex_);
    AddSlice(sessions, begin);
  }
  // The ticket is of the same moment as the last slice, so the write that takes that one has it.
  std::unique_lock lock(mutex_);
  AddSlice(sessions, begin);
  if (!sessions.empty()) ++tickets_;
  if (SteadyNow() >= no_room_.next_try) RetryWithoutRoom();
  const uint64_t ticket = tickets_;
  if (!waiting_.empty() && writing_ == nullptr) WriteSome(&lock);
  return ticket;
}

void SessionSaver::AddSlice(const Sessions& sessions, size_t begin) {
  const size_t end = std::min(begin + kSliceMax, sessions.size());
  for (size_t i = begin; i < end; ++i) {
    const auto& [key, session] = sessions[i];
    no_room_.sessions.erase(key);
    left_.erase(key);
    waiting_[key] = session;
  }
  CountUnsaved();
}

// A slice of them, so that a file that stays full costs little; Written() goes on when it fits.
void SessionSaver::RetryWithoutRoom() {
  no_room_.next_try = SteadyNow() + kTryAgain;
  no_room_.retries = !no_room_.sessions.empty();
  auto next = no_room_.sessions.begin();
  for (size_t i = 0; i < kSliceMax && next != no_room_.sessions.end(); ++i) {
    waiting_.insert(no_room_.sessions.extract(next++));
  }
}

void SessionSaver::Forget(const PublicKey& key) {
  const std::lock_guard lock(mutex_);
  // Counters, and with them the quota, stay.
  const auto reset = [](store::Session session) {
    session.mark = {};
    session.last_handshake = absl::UnixEpoch();
    return session;
  };
  if (const auto it = no_room_.sessions.find(key); it != no_room_.sessions.end())
    it->second = reset(it->second);
  if (const auto it = waiting_.find(key); it != waiting_.end()) {
    it->second = reset(it->second);
  } else if (writing_ != nullptr) {
    // The batch under way cannot be changed, so what is to hold is written after it.
    const auto under_way = writing_->find(key);
    if (under_way != writing_->end()) waiting_[key] = reset(under_way->second);
  }
  CountUnsaved();
}

void SessionSaver::NoteLeft(const PublicKey& key) {
  if (unsaved() == 0) return;
  const std::lock_guard lock(mutex_);
  if (IsUnsaved(key)) left_.insert(key);
  CountUnsaved();
}

std::optional<store::Session> SessionSaver::FindUnsaved(const PublicKey& key) const {
  if (unsaved() == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  for (const Batch* batch : {&waiting_, &no_room_.sessions, writing_.get()}) {
    if (batch == nullptr) continue;
    if (const auto it = batch->find(key); it != batch->end()) return it->second;
  }
  return std::nullopt;
}

Sessions SessionSaver::TakeUnsaved() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return writing_ == nullptr; });
  Sessions sessions(waiting_.begin(), waiting_.end());
  sessions.insert(sessions.end(), no_room_.sessions.begin(), no_room_.sessions.end());
  waiting_.clear();
  no_room_.sessions.clear();
  left_.clear();
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
    auto next = waiting_.begin();
    while (batch->size() < kBatchMax) batch->insert(waiting_.extract(next++));
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
  const bool failed = fails_.exchange(!status.ok());
  bool more = false;
  if (status.ok()) {
    saved_ = ticket;
    for (const PublicKey& key : no_room) {
      if (!waiting_.contains(key)) no_room_.sessions.insert_or_assign(key, batch.at(key));
    }
    if (std::exchange(no_room_.retries, false) && no_room.empty()) RetryWithoutRoom();
    for (const auto& [key, session] : batch) {
      if (!IsUnsaved(key)) left_.erase(key);
    }
    more = !waiting_.empty();
    ++generation_;
  } else {
    for (const auto& [key, session] : batch) waiting_.try_emplace(key, session);
  }
  CountUnsaved();
  LogChange(failed, status, batch.size());
  if (more) WriteSome(&lock);
  if (writing_ == nullptr) idle_.notify_all();
}

// Once when it begins and once when it ends; status and doctor tell of it in the meantime.
void SessionSaver::LogChange(bool failed, const absl::Status& status, size_t sessions) {
  if (!status.ok() && !failed) {
    Log(LogLevel::kError, "saving ", sessions, " sessions: ", status.message(),
        "; they are kept in memory, and tried again with the next ones");
  } else if (status.ok() && failed) {
    Log(LogLevel::kInfo, "sessions can be saved again");
  }
  if (!no_room_.told && !no_room_.sessions.empty()) {
    no_room_.told = true;
    Log(LogLevel::kError, "the store has no room for the first sessions of ",
        no_room_.sessions.size(), " peers; they are kept in memory until it has");
  } else if (no_room_.told && unsaved_ == 0) {
    no_room_.told = false;
    Log(LogLevel::kInfo, "the store has room for all sessions again");
  }
}

}  // namespace wicket::installer
