#include "event/latest.h"

#include <utility>

namespace wicket::event {
namespace {

bool IsOfPackets(Kind kind) {
  switch (kind) {
    case Kind::kSeen:
    case Kind::kRefused:
    case Kind::kInstalled:
    case Kind::kConfirmed:
    case Kind::kEvicted:
    case Kind::kOverQuota:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Latest::Note(const Event& event) {
  if (!event.peer || !IsOfPackets(event.kind)) return;
  ByPeer forgotten;  // its memory is freed outside the lock
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  const auto [it, is_new] = young_.try_emplace(*event.peer);
  std::vector<Entry>& entries = it->second;
  if (const auto before = is_new ? old_.find(*event.peer) : old_.end(); before != old_.end()) {
    entries = std::move(before->second);
    old_.erase(before);
  }
  if (entries.size() == kOfOne) entries.erase(entries.begin());
  entries.push_back({event.kind, event.at, event.source, event.reason});
  if (young_.size() == kPeers) forgotten = std::exchange(old_, std::exchange(young_, {}));
}

std::vector<Latest::Entry> Latest::Of(const PublicKey& peer) const {
  const std::lock_guard lock(mutex_);
  for (const ByPeer* map : {&young_, &old_}) {
    if (const auto it = map->find(peer); it != map->end()) return it->second;
  }
  return {};
}

}  // namespace wicket::event
