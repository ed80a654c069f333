#include "installer/busiest.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"

namespace wicket::installer {
namespace {

using Entry = std::pair<uint64_t, document::PeerTraffic>;

bool More(const Entry& a, const Entry& b) { return a.first > b.first; }

uint64_t BytesOf(const store::Session& session) {
  return session.received_bytes + session.sent_bytes;
}

Entry EntryOf(const PublicKey& key, const store::Session& session) {
  return {BytesOf(session), document::PeerTraffic{.public_key = key,
                                                  .received_bytes = session.received_bytes,
                                                  .sent_bytes = session.sent_bytes,
                                                  .last_handshake = session.last_handshake}};
}

}  // namespace

void Busiest::Begin() { heap_.clear(); }

void Busiest::Note(const PublicKey& key, const store::Session& session) {
  if (heap_.size() == most_) {
    if (BytesOf(session) <= heap_.front().first) return;
    std::pop_heap(heap_.begin(), heap_.end(), More);
    heap_.pop_back();
  }
  heap_.push_back(EntryOf(key, session));
  std::push_heap(heap_.begin(), heap_.end(), More);
}

void Busiest::Publish(bool complete,
                      const std::function<const store::Session*(const PublicKey&)>& resident) {
  if (!wanted()) return;
  // Beside the heap, in which a peer that is shown twice has two places.
  absl::flat_hash_map<PublicKey, Entry> distinct;
  const auto add = [&distinct](const Entry& entry) {
    const auto [known, is_new] = distinct.try_emplace(entry.second.public_key, entry);
    if (!is_new && known->second.first < entry.first) known->second = entry;
  };
  for (const Entry& entry : heap_) add(entry);
  if (!complete && published_ != nullptr) {
    for (const document::PeerTraffic& before : *published_) {
      const store::Session* session = resident(before.public_key);
      if (session != nullptr) add(EntryOf(before.public_key, *session));
    }
  }
  std::vector<const Entry*> most;
  for (const auto& [key, entry] : distinct) most.push_back(&entry);
  std::sort(most.begin(), most.end(), [](const Entry* a, const Entry* b) { return More(*a, *b); });
  if (most.size() > most_) most.resize(most_);
  auto peers = std::make_shared<std::vector<document::PeerTraffic>>();
  for (const Entry* entry : most) peers->push_back(entry->second);
  std::shared_ptr<const std::vector<document::PeerTraffic>> fresh = std::move(peers);
  const std::lock_guard lock(mutex_);
  published_.swap(fresh);
}

void Busiest::Clear() {
  heap_.clear();
  const std::lock_guard lock(mutex_);
  published_.reset();
}

void Busiest::FillStatus(document::DeviceStatus* status) const {
  if (!wanted()) return;
  std::shared_ptr<const std::vector<document::PeerTraffic>> published;
  {
    const std::lock_guard lock(mutex_);
    published = published_;
  }
  if (published == nullptr) return;
  status->busiest = *published;
  status->peers_capped =
      status->installed - std::min<uint64_t>(status->installed, published->size());
}

}  // namespace wicket::installer
