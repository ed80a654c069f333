#include "roster/expiry_collector.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "base/log.h"

namespace wicket::roster {
namespace {

constexpr size_t kSliceMax = 256;  // deleted in one transaction, which others share

}  // namespace

ExpiryCollector::~ExpiryCollector() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  idle_.wait(lock, [this] { return !under_way_; });
}

void ExpiryCollector::Tick() {
  std::vector<store::Peer> deleted;
  {
    const std::lock_guard lock(mutex_);
    deleted.swap(deleted_);
  }
  for (const store::Peer& peer : deleted) {
    const PublicKey& key = peer.config.public_key;
    events_->Append(
        {.kind = event::Kind::kExpired, .at = absl::Now(), .device = peer.device, .peer = key});
    if (const absl::Status synced = devices_->Sync(peer.device, {&key, 1})[0]; !synced.ok()) {
      Log(LogLevel::kWarning, peer.device, ": peer ", Abbreviate(key),
          " has expired and was not removed yet: ", synced.message());
    }
  }
  {
    const std::lock_guard lock(mutex_);
    if (under_way_ || !AnyDue()) return;
    under_way_ = true;
  }
  DeleteSlice();
}

bool ExpiryCollector::AnyDue() const {
  const auto snapshot = store_->NewSnapshot();
  if (!snapshot.ok()) return false;
  bool any = false;
  std::string cursor;
  const absl::Status listed =
      snapshot->List({.expired_by = absl::Now()}, kSliceMax, &cursor, [&](const store::Peer&) {
        any = true;
        return false;
      });
  return any || !listed.ok() || !cursor.empty();
}

void ExpiryCollector::DeleteSlice() {
  auto peers = std::make_shared<std::vector<store::Peer>>();
  committer_->Submit(
      [peers, slice = slice_](store::Writer& writer) -> absl::Status {
        WICKET_ASSIGN_OR_RETURN(*peers, writer.DeleteExpired(absl::Now(), slice));
        return absl::OkStatus();
      },
      [this, peers](const absl::Status& status) { Collected(status, std::move(*peers)); });
}

// On the committer's thread. A full slice is followed by another at once. In a full file
// there may be room for a small one, which makes room for larger ones.
void ExpiryCollector::Collected(const absl::Status& status, std::vector<store::Peer> peers) {
  if (!status.ok()) Log(LogLevel::kError, "deleting expired peers: ", status.message());
  bool more;
  {
    const std::lock_guard lock(mutex_);
    more = status.ok() ? peers.size() == slice_ : absl::IsResourceExhausted(status) && slice_ > 1;
    more = more && !stopping_;
    slice_ = status.ok() ? std::min(2 * slice_, kSliceMax) : std::max<size_t>(slice_ / 2, 1);
    if (status.ok()) {
      for (store::Peer& peer : peers) deleted_.push_back(std::move(peer));
    }
    under_way_ = more;
    if (!more) idle_.notify_all();
  }
  if (more) DeleteSlice();
}

}  // namespace wicket::roster
