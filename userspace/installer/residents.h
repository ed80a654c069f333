// The peers of ours that are in a device: installed by us, or adopted.
//
//            install                first data packet                evict_after of silence
//   stored ----------> probation ---------------------> established ------------------> leaving
//                          | 30 s, 15 in a crowd              ^                            |
//                          +----------> leaving <-------------+---- a new handshake -------+
//                                          | a later dump: as idle as before
//                                          +----> removable
//
// A peer leaves in two steps. First its flow is forgotten, so that its next initiation comes to us
// instead of passing. It may be removed only when a dump that began after that shows it as idle as
// before. In between, nothing that it sends can be missed.
//
// An index ordered by time yields the peer to leave next. Only the end of a complete dump looks at
// every peer, as the dump itself has done.
//
// Ages come from the steady clock, at the moment a change is seen, never from the wall clock: a
// wall clock that jumps by years must not empty the device.
//
// No I/O: what to do is returned, what happened is an argument.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "base/key.h"
#include "guard/replay.h"
#include "store/record.h"
#include "wgdev/device.h"

namespace wicket::installer {

// Longer than the usual persistent keepalive of 25 s. A client whose first data packet was lost
// believes in its session, and would not initiate again for two minutes.
inline constexpr absl::Duration kProbation = absl::Seconds(30);
inline constexpr absl::Duration kProbationInACrowd = absl::Seconds(15);
inline constexpr absl::Duration kSessionLifetime = absl::Seconds(180);  // [WG 6.1]

// A peer's configuration as the device was given it.
struct GivenConfig {
  explicit GivenConfig(const PeerConfig& config) : all(wgdev::DigestOf(config)) {
    for (const Prefix& prefix : config.allowed_ips) allowed_ips.AddAllowedIp(prefix);
  }
  wgdev::ConfigDigest all, allowed_ips;
};

struct Resident {
  store::Session session;      // as it is to be saved; byte counts are totals
  uint64_t received_base = 0;  // totals from before this installation
  uint64_t sent_base = 0;
  StampMark past_us;            // session.mark, advanced over handshakes past us; unset: none
  bool handshake_seen = false;  // since then
  absl::Duration active;        // steady time of the last sign of life
  absl::Duration last_request = -absl::InfiniteDuration();  // the last initiation through us
  bool confirmed = false;                                   // established, not on probation
  bool leaving = false;
  bool revoked = false;
  bool over_quota = false;  // that is why it is revoked
  bool queued = false;      // removable, or taken to be removed
  bool dirty = false;       // the session has changed since it was saved
  bool pinned = false;
  std::optional<absl::Duration> expired_since;  // steady time; nullopt: not expired
  Address came_from;           // the source charged for its probation slot; see SourceOf
  uint64_t leaving_since = 0;  // the number of the last dump before it began to leave
  absl::Duration saved = -absl::InfiniteDuration();  // when it was last marked to be saved
  bool keepalive_held = true;                        // the device was not told of its keepalive yet
  std::optional<GivenConfig> given;                  // nullopt: what the device has is not known
  bool forget_stamp = false;  // the device must forget its newest timestamp too
  uint64_t seen_in_dump = 0;
  std::optional<absl::Duration> indexed;  // its time in the index

  absl::Duration sign_of_life() const { return std::max(active, last_request); }
};

// When the peer's last handshake was made, at the latest.
Instant HandshakeOf(const Resident& peer, const wgdev::PeerStats& stats, const Instant& now);

// The part of an address that counts as one source: an IPv4 address, an IPv6 /64.
Address SourceOf(const Address& address);

// Thread: one.
class Residents {
 public:
  explicit Residents(absl::Duration evict_after) : evict_after_(evict_after) {}
  // Indexed peers keep their place until their time comes.
  void set_evict_after(absl::Duration evict_after) { evict_after_ = evict_after; }

  Resident* Find(const PublicKey& key);
  const Resident* Find(const PublicKey& key) const;
  // Returns: up to `count` keys after `after`, in order.
  std::vector<PublicKey> List(const std::optional<PublicKey>& after, size_t count) const;
  // Adds a peer that was just installed, or was found in the device. `from` is charged for its
  // probation slot.
  Resident* Add(const store::Peer& stored, const store::Session& session, const Address& from,
                absl::Duration steady_now);
  void Erase(const PublicKey& key);
  void Clear();
  size_t size() const { return peers_.size(); }
  size_t on_probation() const { return on_probation_; }
  size_t on_probation_from(const Address& address) const;

  // Notes an initiation through us: a sign of life. A peer that was leaving stays.
  void Touch(const PublicKey& key, absl::Duration steady_now);
  void SetPinned(const PublicKey& key, bool pinned);
  // Notes that the peer's session has changed: TakeDirty will return it.
  void MarkDirty(const PublicKey& key);

  // --- leaving ---
  struct Press {
    bool established = false;  // the device is full: remove peers as soon as their session is dead
    bool probation = false;    // end probation early, in a crowd or for another reason
  };
  // Starts the departure of at most `count` peers of each kind whose time is over, the longest
  // overdue first. Returns: those peers.
  std::vector<PublicKey> BeginLeaving(absl::Duration steady_now, size_t count, Press press);
  // Makes a peer removable immediately: it is not stored any more, or for another device.
  void Revoke(const PublicKey& key);
  // Returns: at most `count` removable peers, each once. A peer that is not removed after all must
  //          Stay.
  std::vector<PublicKey> TakeRemovable(size_t count);
  // Keeps the peer in the device. It remains due for eviction.
  void Stay(const PublicKey& key);
  // Returns: peers that began to leave and came back to life past us.
  std::vector<PublicKey> TakeReturned();

  // --- a dump ---
  void BeginDump() { ++dump_; }
  // The peer was put into the device again, perhaps behind the dump at hand.
  void NoteSeen(Resident* peer) const { peer->seen_in_dump = dump_; }
  // Notes what the dump says of a peer, and advances its saved mark over handshakes past us.
  // Returns: true at the first sign that its session is confirmed.
  bool Observe(const PublicKey& key, const wgdev::PeerStats& stats, absl::Duration steady_now,
               const Instant& now);
  // Returns: the peers that somebody else removed: neither this dump nor the one before shows
  //          them, and this one is complete.
  std::vector<PublicKey> EndDump(bool complete);

  // Returns: the sessions that have changed since they were last taken.
  std::vector<std::pair<PublicKey, store::Session>> TakeDirty();

 private:
  using Index = absl::btree_set<std::pair<absl::Duration, PublicKey>>;
  Index& IndexOf(const Resident& peer) { return peer.confirmed ? established_ : probation_; }
  void Enter(const PublicKey& key, Resident* peer);
  // Pinned peers stay whether they confirm or not, so they take no probation slot.
  void BeginProbation(const Resident& peer);
  void EndProbation(const Resident& peer);
  void Withdraw(const PublicKey& key, Resident* peer);
  void BeginLeavingFrom(Index* index, absl::Duration lifetime, absl::Duration steady_now,
                        size_t count, std::vector<PublicKey>* leaving);

  absl::Duration evict_after_;
  absl::btree_map<PublicKey, Resident> peers_;
  // Ordered by a sign of life, not always the last. Leaving and pinned peers are in neither.
  Index probation_, established_;
  std::deque<PublicKey> removable_;
  std::vector<PublicKey> returned_, dirty_;
  size_t on_probation_ = 0;
  absl::flat_hash_map<Address, size_t> on_probation_from_;  // without zero counts
  uint64_t dump_ = 0;
};

}  // namespace wicket::installer
