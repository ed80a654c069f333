#include "event/event_log.h"

#include <algorithm>
#include <utility>

namespace wicket::event {

const char* ToString(Kind kind) {
  switch (kind) {
#define WICKET_EVENT_TEXT(name, text, help) \
  case Kind::k##name:                       \
    return text;
    WICKET_EVENTS(WICKET_EVENT_TEXT)
#undef WICKET_EVENT_TEXT
  }
  return "?";
}

// Wakes one watcher; that watcher pays for waking the others.
void EventLog::Append(Event event, Latest* memory) {
  (memory ? memory : &own_memory_)->Note(event);
  if (!watched()) return;
  std::optional<Event> dropped;  // its memory is freed outside the lock
  {
    const std::lock_guard lock(mutex_);
    if (pending_.size() == kKept) {
      dropped = std::move(pending_.front());
      pending_.pop_front();
    }
    pending_.push_back(std::move(event));
    ++end_;
  }
  appended_.notify_one();
}

Latest* EventLog::NewMemory() {
  const std::lock_guard lock(memories_mutex_);
  return memories_.emplace_back(std::make_unique<Latest>()).get();
}

std::vector<Latest::Entry> EventLog::LatestOf(const PublicKey& peer) const {
  std::vector<Latest::Entry> all = own_memory_.Of(peer);
  {
    const std::lock_guard lock(memories_mutex_);
    for (const auto& memory : memories_) {
      for (const Latest::Entry& entry : memory->Of(peer)) all.push_back(entry);
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Latest::Entry& a, const Latest::Entry& b) { return a.at < b.at; });
  if (all.size() > Latest::kOfOne) all.erase(all.begin(), all.end() - Latest::kOfOne);
  return all;
}

void EventLog::Drain() {
  std::deque<Event> taken;
  {
    const std::lock_guard lock(mutex_);
    taken.swap(pending_);
    ring_end_ = end_ - taken.size();  // skips the events dropped from `pending_`
    if (taken.empty()) return;
  }
  ring_.resize(kKept);
  for (Event& event : taken) ring_[ring_end_++ % kKept] = std::move(event);
  appended_.notify_all();
}

EventLog::Watcher::Watcher(EventLog* log) : log_(log) {
  const std::lock_guard lock(log_->mutex_);
  next_ = log_->end_;
  ++log_->watchers_;
}

EventLog::Watcher::~Watcher() { --log_->watchers_; }

EventLog::Watcher::Batch EventLog::Watcher::Read(absl::Duration wait) {
  {
    std::unique_lock lock(log_->mutex_);
    log_->appended_.wait_for(lock, absl::ToChronoMilliseconds(wait),
                             [this] { return log_->end_ > next_; });
  }
  const std::lock_guard lock(log_->ring_mutex_);
  log_->Drain();
  Batch batch;
  const uint64_t end = log_->ring_end_;
  const uint64_t first = end - std::min<uint64_t>(end, kKept);
  if (next_ < first) batch.missed = first - std::exchange(next_, first);
  while (next_ < end) batch.events.push_back(log_->ring_[next_++ % kKept]);
  return batch;
}

}  // namespace wicket::event
