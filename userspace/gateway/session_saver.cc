#include "gateway/session_saver.h"

#include <pthread.h>

#include <chrono>

#include "base/log.h"

namespace wicket::gateway {
namespace {

constexpr auto kRetryPause = std::chrono::seconds(1);
constexpr absl::Duration kPatience = absl::Seconds(5);  // also bounds what stopping takes

}  // namespace

SessionSaver::SessionSaver(const store::Store* store)
    : store_(store), thread_([this] { Loop(); }) {}

SessionSaver::~SessionSaver() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  submitted_.notify_one();
  thread_.join();
}

uint64_t SessionSaver::Submit(Sessions sessions) {
  const std::lock_guard lock(mutex_);
  if (!sessions.empty()) {
    for (auto& [key, session] : sessions) waiting_[key] = session;
    ++tickets_;
    submitted_.notify_one();
  }
  return tickets_;
}

uint64_t SessionSaver::SavedUpTo() const {
  const std::lock_guard lock(mutex_);
  return saved_;
}

void SessionSaver::Loop() {
  pthread_setname_np(pthread_self(), "sessions");
  std::unique_lock lock(mutex_);
  for (;;) {
    submitted_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    const bool last = stop_;
    const uint64_t ticket = tickets_;
    absl::flat_hash_map<PublicKey, store::Session> batch;
    batch.swap(waiting_);
    lock.unlock();
    const absl::Status written = Write(batch);
    lock.lock();
    if (written.ok()) {
      saved_ = ticket;
      continue;
    }
    Log(LogLevel::kError, "saving ", batch.size(), " sessions: ", written.message(),
        last ? "" : "; tried again until it succeeds");
    if (last) return;
    for (auto& [key, session] : batch) waiting_.try_emplace(key, session);  // newer ones stay
    submitted_.wait_for(lock, kRetryPause, [this] { return stop_; });
  }
}

absl::Status SessionSaver::Write(const absl::flat_hash_map<PublicKey, store::Session>& sessions) {
  WICKET_ASSIGN_OR_RETURN(store::Writer writer, store_->Write(kPatience));
  for (const auto& [key, session] : sessions) {
    WICKET_ASSIGN_OR_RETURN(const bool stored, writer.HasPeer(key));
    if (stored) WICKET_RETURN_IF_ERROR(writer.PutSession(key, session));
  }
  return writer.Commit();
}

}  // namespace wicket::gateway
