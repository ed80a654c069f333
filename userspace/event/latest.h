// What happened last to single peers, kept also while nobody watches.
#pragma once

#include <cstddef>
#include <mutex>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/key.h"
#include "event/event.h"

namespace wicket::event {

// What one writer knows: of at least the kPeers peers that had an event last, and of twice as many
// at most. Changes of a peer's record are not in it.
//
// Thread: any.
class Latest {
 public:
  static constexpr size_t kPeers = 8192;
  static constexpr size_t kOfOne = 4;

  struct Entry {
    Kind kind = Kind::kSeen;
    absl::Time at;
    Endpoint source;
    const char* reason = "";
  };

  // Never waits: an event that comes while another thread is in here is not remembered.
  // Cost: at most three look-ups; none for an event without a peer.
  void Note(const Event& event);
  // Returns: up to kOfOne entries, the oldest first.
  std::vector<Entry> Of(const PublicKey& peer) const;

 private:
  using ByPeer = absl::flat_hash_map<PublicKey, std::vector<Entry>>;

  mutable std::mutex mutex_;
  ByPeer young_, old_;  // `young_` takes the place of `old_` when it has kPeers
};

}  // namespace wicket::event
