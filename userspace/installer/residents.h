// The peers of ours that are in a device: installed by us, or adopted.
//
//            install                first data packet                evict_after of silence
//   stored ----------> probation ---------------------> established ------------------> leaving
//                          | 30 s, 15 in a crowd              ^                            |
//                          +----------> leaving <-------------+---- a new handshake -------+
//                                          | a later dump: as idle as before
//                                          +----> removable
//
// A peer leaves in two steps, a revoked one in one: see Revoke(). First its flow is forgotten, so
// that its next initiation comes to us instead of passing. It may be removed only when a dump that
// began after that shows it as idle as before. In between, nothing that it sends can be missed.
//
// An index ordered by time yields the peer to leave next. Only the end of a complete dump looks at
// every peer, as the dump itself has done.
//
// The ages by which peers leave come from the steady clock, at the moment a change is seen, never
// from the wall clock: a wall clock that jumps by years must not empty the device.
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
  // Saved with `past_us` as its mark, where that is set; byte counts are totals.
  store::Session session;
  uint64_t received_base = 0;  // totals from before this installation
  uint64_t sent_base = 0;
  StampMark past_us;            // session.mark, advanced over handshakes past us; unset: none
  bool handshake_seen = false;  // a dump has shown one since session.mark was accepted
  absl::Duration active;        // steady time: when added, or when a dump last showed a handshake
  // Steady time of the last initiation that was let in through us.
  absl::Duration last_request = -absl::InfiniteDuration();
  bool confirmed = false;  // established, not on probation
  bool leaving = false;
  bool revoked = false;
  bool over_quota = false;  // that is why it is revoked
  bool queued = false;      // removable, or taken to be removed
  bool dirty = false;       // the session has changed since it was taken to be saved
  bool pinned = false;
  // Steady time at which a dump first found it expired or not stored for this device; nullopt: it
  // was found neither.
  std::optional<absl::Duration> expired_since;
  Address came_from;           // the source charged for its probation slot; see SourceOf
  uint64_t leaving_since = 0;  // the number of the last dump before it began to leave
  // Steady time at which Observe() last marked it to be saved.
  absl::Duration saved = -absl::InfiniteDuration();
  bool keepalive_held = true;  // the device is not told of its keepalive yet, nor is that queued
  std::optional<GivenConfig> given;  // nullopt: what the device has is not known
  bool forget_stamp = false;         // the device must forget its newest timestamp too
  uint64_t seen_in_dump = 0;
  std::optional<absl::Duration> indexed;  // its time in the index

  absl::Duration sign_of_life() const { return std::max(active, last_request); }
};

// When the peer's last handshake was made, at the latest.
Instant HandshakeOf(const Resident& peer, const wgdev::PeerStats& stats, const Instant& now);

// The part of an address that counts as one source: an IPv4 address, an IPv6 /64.
Address SourceOf(const Address& address);

// Lifetime: what Find() and Add() return is valid until the next Add(), Erase() or Clear().
// Thread: one.
class Residents {
 public:
  explicit Residents(absl::Duration evict_after) : evict_after_(evict_after) {}
  // Applies to all peers, from the next BeginLeaving() on.
  void set_evict_after(absl::Duration evict_after) { evict_after_ = evict_after; }

  Resident* Find(const PublicKey& key);
  // Returns: up to `count` keys after `after`, in order.
  std::vector<PublicKey> List(const std::optional<PublicKey>& after, size_t count) const;
  // Adds a peer that was just installed, or was found in the device, in place of one with its key.
  // `from` is charged for its probation slot.
  Resident* Add(const store::Peer& stored, const store::Session& session, const Address& from,
                absl::Duration steady_now);
  // Takes the peer out. A change of its session that was not taken is lost: TakeDirty() first.
  void Erase(const PublicKey& key);
  void Clear();
  size_t size() const { return peers_.size(); }
  size_t on_probation() const { return on_probation_; }
  size_t on_probation_from(const Address& address) const;

  // Notes an initiation through us: a sign of life. A peer that was leaving stays.
  void Touch(const PublicKey& key, absl::Duration steady_now);
  // A pinned peer never leaves unless it is revoked; one that was leaving stays.
  void SetPinned(const PublicKey& key, bool pinned);
  // Notes that the peer's session has changed: TakeDirty will return it.
  void MarkDirty(const PublicKey& key);

  // --- leaving ---
  struct Press {
    bool established = false;  // the device is full: remove peers as soon as their session is dead
    bool probation = false;    // end probation early, in a crowd or for another reason
  };
  // Looks at no more than `count` peers of each kind, on probation and established, in the order of
  // the index, and starts the departure of those whose time is over. Returns: those peers.
  std::vector<PublicKey> BeginLeaving(absl::Duration steady_now, size_t count, Press press);
  // Makes a peer removable immediately: it is not stored for this device any more, has expired, or
  // has used up its quota.
  void Revoke(const PublicKey& key);
  // Returns: at most `count` removable peers, each once. A peer that is not removed after all must
  //          Stay.
  std::vector<PublicKey> TakeRemovable(size_t count);
  // Keeps the peer in the device. It remains due for eviction.
  void Stay(const PublicKey& key);
  // Returns: peers that began to leave and came back to life past us since the last call. Some may
  //          have been erased or revoked since.
  std::vector<PublicKey> TakeReturned();

  // --- a dump ---
  void BeginDump() { ++dump_; }
  // The peer was put into the device again, perhaps behind the dump at hand.
  void NoteSeen(Resident* peer) const { peer->seen_in_dump = dump_; }
  // Notes what the dump says of a peer, and advances its saved mark over handshakes past us.
  // Returns: true at the first sign that its session is confirmed.
  bool Observe(const PublicKey& key, const wgdev::PeerStats& stats, absl::Duration steady_now,
               const Instant& now);
  // Returns: the peers that somebody else removed: Observe() and NoteSeen() were told of them
  //          neither in this dump nor in the one before, and this one is complete.
  std::vector<PublicKey> EndDump(bool complete);

  // Returns: the sessions marked since they were last taken, of peers that are still here. For byte
  //          counts alone Observe() marks a peer at most once a minute.
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
