// The peers that are in a device because we put them there, or found them there.
//
//            install                    first data packet                180 s of silence
//   stored ----------> unconfirmed ------------------------> confirmed ------------------> leaving
//                          | 15 s                                ^                            |
//                          +----------> leaving <----------------+---- a new handshake -------+
//                                          | next dump: still idle
//                                          +----> removed
//
// A peer whose time is over leaves too, whatever its session.
//
// A peer leaves in two steps. First its flow is forgotten, so that whatever it
// sends next comes to us and not past us; and only when the next dump shows it
// as idle as before is it removed. Between the two nothing can be lost unseen.
//
// Ages are taken from the steady clock at the moment a change was seen, never from
// the wall clock: one that jumps by years must not empty the device.
//
// No I/O: what to do is returned, what happened is told.
#pragma once

#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/key.h"
#include "store/record.h"
#include "wgdev/device.h"

namespace wicket::gateway {

inline constexpr absl::Duration kUnconfirmedLifetime = absl::Seconds(15);

struct InstalledPeer {
  store::Session session;      // as it will be saved; byte counts are totals
  uint64_t received_base = 0;  // totals from before this installation
  uint64_t sent_base = 0;
  absl::Duration active;                                    // steady time of the last sign of life
  absl::Duration last_request = -absl::InfiniteDuration();  // the last initiation through us
  bool confirmed = false;
  bool leaving = false;
  bool dirty = false;  // session not saved since it changed
  bool pinned = false;
  absl::Time expires = absl::InfiniteFuture();
  uint64_t seen_in_dump = 0;
};

// Thread: one.
class InstalledPeers {
 public:
  explicit InstalledPeers(absl::Duration evict_after) : evict_after_(evict_after) {}
  void set_evict_after(absl::Duration evict_after) { evict_after_ = evict_after; }

  InstalledPeer* Find(const PublicKey& key);
  const InstalledPeer* Find(const PublicKey& key) const;
  std::vector<PublicKey> Keys() const;  // in no order
  // Adds a peer just put into the device, or found there.
  InstalledPeer* Add(const store::Peer& stored, const store::Session& session,
                     absl::Duration steady_now);
  void Erase(const PublicKey& key) { peers_.erase(key); }
  void Clear() { peers_.clear(); }
  size_t size() const { return peers_.size(); }
  size_t unconfirmed() const;

  // --- a dump ---
  void BeginDump() { ++dump_; }
  // Notes what the dump says of a peer. Returns: true when this is the first
  // sign that its session is confirmed.
  bool Observe(InstalledPeer* peer, const wgdev::PeerStats& stats, absl::Duration steady_now);

  struct Changes {
    std::vector<PublicKey> leaving;  // forget their flows
    std::vector<PublicKey> staying;  // had begun to leave; note their flows again
    std::vector<PublicKey> remove;
    std::vector<PublicKey> missing;  // somebody else removed them
  };
  // Decides after a dump. `complete` is false when peers may have been missed.
  // `wall_now` is asked for expiry only.
  Changes EndDump(absl::Duration steady_now, absl::Time wall_now, bool complete);

  // The sessions that have changed since they were last taken.
  std::vector<std::pair<PublicKey, store::Session>> TakeDirty();

 private:
  bool MustGo(const InstalledPeer& peer, absl::Duration steady_now, absl::Time wall_now) const;

  absl::Duration evict_after_;
  absl::flat_hash_map<PublicKey, InstalledPeer> peers_;
  uint64_t dump_ = 0;
};

}  // namespace wicket::gateway
