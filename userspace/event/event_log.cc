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

void EventLog::Append(Event event) {
  if (!watched()) return;
  {
    const std::lock_guard lock(mutex_);
    ring_[end_++ % kKept] = std::move(event);
  }
  appended_.notify_all();
}

EventLog::Watcher::Watcher(EventLog* log) : log_(log) {
  const std::lock_guard lock(log_->mutex_);
  next_ = log_->end_;
  ++log_->watchers_;
}

EventLog::Watcher::~Watcher() { --log_->watchers_; }

EventLog::Watcher::Batch EventLog::Watcher::Read(absl::Duration wait) {
  std::unique_lock lock(log_->mutex_);
  log_->appended_.wait_for(lock, absl::ToChronoMilliseconds(wait),
                           [this] { return log_->end_ > next_; });
  Batch batch;
  const uint64_t first = log_->end_ - std::min<uint64_t>(log_->end_, kKept);
  if (next_ < first) batch.missed = first - std::exchange(next_, first);
  while (next_ < log_->end_) batch.events.push_back(log_->ring_[next_++ % kKept]);
  return batch;
}

}  // namespace wicket::event
