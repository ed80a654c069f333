#include "installer/busiest.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"

namespace wicket::installer {
namespace {

bool More(const std::pair<uint64_t, document::PeerTraffic>& a,
          const std::pair<uint64_t, document::PeerTraffic>& b) {
  return a.first > b.first;
}

}  // namespace

void Busiest::Begin() { heap_.clear(); }

void Busiest::Note(const PublicKey& key, const store::Session& session) {
  const uint64_t bytes = session.received_bytes + session.sent_bytes;
  if (heap_.size() == most_) {
    if (bytes <= heap_.front().first) return;
    std::pop_heap(heap_.begin(), heap_.end(), More);
    heap_.pop_back();
  }
  heap_.emplace_back(bytes, document::PeerTraffic{.public_key = key,
                                                  .received_bytes = session.received_bytes,
                                                  .sent_bytes = session.sent_bytes,
                                                  .last_handshake = session.last_handshake});
  std::push_heap(heap_.begin(), heap_.end(), More);
}

void Busiest::Publish(bool complete,
                      const std::function<const store::Session*(const PublicKey&)>& resident) {
  if (!wanted()) return;
  if (!complete && published_ != nullptr) {
    for (const document::PeerTraffic& before : *published_) {
      const store::Session* session = resident(before.public_key);
      if (session != nullptr) Note(before.public_key, *session);
    }
  }
  absl::flat_hash_map<PublicKey, const Entry*> distinct;
  for (const Entry& entry : heap_) {
    const Entry*& known = distinct[entry.second.public_key];
    if (known == nullptr || known->first < entry.first) known = &entry;
  }
  auto peers = std::make_shared<std::vector<document::PeerTraffic>>();
  for (const auto& [key, entry] : distinct) peers->push_back(entry->second);
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
