#include "roster/expiry_collector.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"

namespace wicket::roster {

ExpiryCollector::~ExpiryCollector() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  idle_.wait(lock, [this] { return !under_way_; });
}

// The wall clock as the first look and the steady clock tell it, so that a step which nobody
// has noted yet makes nobody expire; and not later than it tells itself.
std::optional<absl::Time> ExpiryCollector::ExpiredBy(absl::Duration steady, absl::Time wall) {
  if (!since_) since_ = Look{steady, wall};
  const absl::Duration elapsed = steady - since_->steady;
  if (elapsed < grace_) return std::nullopt;
  return std::min(since_->wall + elapsed, wall) - grace_;
}

void ExpiryCollector::Tick(absl::Duration steady, absl::Time wall) {
  const auto expired_by = ExpiredBy(steady, wall);
  if (!expired_by) return;
  {
    const std::lock_guard lock(mutex_);
    if (under_way_) return;
  }
  if (!AnyExpired(*expired_by)) return;
  {
    const std::lock_guard lock(mutex_);
    under_way_ = true;
  }
  DeleteSlice(*expired_by, kSlicesPerTick);
}

// An index entry that no peer agrees with counts too: its deletion cleans it up.
bool ExpiryCollector::AnyExpired(absl::Time by) const {
  const auto snapshot = store_->NewSnapshot();
  if (!snapshot.ok()) return false;
  bool any = false;
  std::string cursor;
  const absl::Status listed =
      snapshot->List({.expired_by = by}, kSliceMax, &cursor, [&](const store::Peer&) {
        any = true;
        return false;
      });
  return any || !listed.ok() || !cursor.empty();
}

// Then on the committer's thread: a full slice is followed by another at once, `slices` in all.
void ExpiryCollector::DeleteSlice(absl::Time expired_by, size_t slices) {
  roster_->DeleteExpired(expired_by, slice_,
                         [this, expired_by, slices](const absl::StatusOr<size_t>& count) {
                           bool more = Deleted(count) && slices > 1;
                           {
                             const std::lock_guard lock(mutex_);
                             more = more && !stopping_;
                             under_way_ = more;
                             if (!more) idle_.notify_all();
                           }
                           if (more) DeleteSlice(expired_by, slices - 1);
                         });
}

// In a full file there may be room for a small slice, which makes room for larger ones.
// Returns: whether another slice is worth a try.
bool ExpiryCollector::Deleted(const absl::StatusOr<size_t>& count) {
  if (!count.ok()) {
    if (!std::exchange(failing_, true)) {
      Log(LogLevel::kError, "expired peers cannot be deleted: ", count.status().message());
    }
    const bool smaller = absl::IsResourceExhausted(count.status()) && slice_ > 1;
    slice_ = std::max<size_t>(slice_ / 2, 1);
    return smaller;
  }
  failing_ = false;
  const bool full = *count == slice_;
  slice_ = std::min(2 * slice_, kSliceMax);
  return full;
}

}  // namespace wicket::roster
