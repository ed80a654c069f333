// The peers that are in a device because we put them there, or found them there.
//
//            install                first data packet                 180 s of silence
//   stored ----------> probation ---------------------> established ------------------> leaving
//                          | 30 s, 15 in a crowd              ^                            |
//                          +----------> leaving <-------------+---- a new handshake -------+
//                                          | a later dump: as idle as before
//                                          +----> removable
//
// A peer leaves in two steps. First its flow is forgotten, so that whatever it
// sends next comes to us and not past us; and only when a dump that began after that
// shows it as idle as before may it be removed. Between the two nothing can be lost unseen.
//
// The peer to leave next is read off an index ordered by time. Nothing here looks at every peer but
// the end of a complete dump, which has done so anyway.
//
// Ages are taken from the steady clock at the moment a change was seen, never from
// the wall clock: one that jumps by years must not empty the device.
//
// No I/O: what to do is returned, what happened is told.
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

// Longer than the usual persistent keepalive of 25 s: a client whose first data packet was lost
// believes in its session, and would not initiate again for two minutes.
inline constexpr absl::Duration kProbation = absl::Seconds(30);
inline constexpr absl::Duration kProbationInACrowd = absl::Seconds(15);
inline constexpr absl::Duration kSessionLifetime = absl::Seconds(180);  // [WG 6.1]

struct Resident {
  store::Session session;      // as it will be saved; byte counts are totals
  uint64_t received_base = 0;  // totals from before this installation
  uint64_t sent_base = 0;
  StampMark past_us;             // session.mark, moved over handshakes made past us; unset: none
  absl::Duration mark_accepted;  // steady time when session.mark was accepted
  absl::Duration active;         // steady time of the last sign of life
  absl::Duration last_request = -absl::InfiniteDuration();  // the last initiation through us
  bool confirmed = false;                                   // established, not on probation
  bool leaving = false;
  bool revoked = false;
  bool queued = false;  // to be removed: among the removable peers, or taken from there
  bool dirty = false;   // session not saved since it changed
  bool pinned = false;
  std::optional<absl::Duration> expired_since;  // steady time; nullopt: its time is not over
  Address came_from;           // the source that it is on probation from; see SourceOf
  uint64_t leaving_since = 0;  // the dump that had begun when it began to leave
  absl::Duration saved = -absl::InfiniteDuration();  // when it was last taken to be saved
  bool keepalive_held = true;                        // the device was not told of its keepalive yet
  bool forget_stamp = false;  // the device must forget its newest timestamp, too
  uint64_t seen_in_dump = 0;
  std::optional<absl::Duration> indexed;  // the sign of life that the index has it by

  absl::Duration sign_of_life() const { return std::max(active, last_request); }
};

// What counts as one source: an IPv4 address, an IPv6 /64.
Address SourceOf(const Address& address);

// Thread: one.
class Residents {
 public:
  explicit Residents(absl::Duration evict_after) : evict_after_(evict_after) {}
  // Peers that are indexed keep their place until their time comes.
  void set_evict_after(absl::Duration evict_after) { evict_after_ = evict_after; }

  Resident* Find(const PublicKey& key);
  const Resident* Find(const PublicKey& key) const;
  // Keys after `after`, in their order, at most `count`.
  std::vector<PublicKey> List(const std::optional<PublicKey>& after, size_t count) const;
  // Adds a peer just put into the device, or found there, that came from that address.
  Resident* Add(const store::Peer& stored, const store::Session& session, const Address& from,
                absl::Duration steady_now);
  void Erase(const PublicKey& key);
  void Clear();
  size_t size() const { return peers_.size(); }
  size_t on_probation() const { return on_probation_; }
  size_t on_probation_from(const Address& address) const;

  // An initiation through us: a sign of life, and a peer that was leaving stays.
  void Touch(const PublicKey& key, absl::Duration steady_now);
  void SetPinned(const PublicKey& key, bool pinned);
  // Its session changed: TakeDirty will return it.
  void MarkDirty(const PublicKey& key);

  // --- leaving ---
  struct Press {
    bool established = false;  // the device is full: they go as soon as their session is dead
    bool probation = false;    // it is crowded, or is not to last for another reason
  };
  // At most `count` peers of each kind whose time is over, longest ago first; they are
  // leaving from now on.
  std::vector<PublicKey> BeginLeaving(absl::Duration steady_now, size_t count, Press press);
  // It is not stored any more, or for another device: removable at once.
  void Revoke(const PublicKey& key);
  // Peers to be removed, at most `count`, once each. A peer that is not removed after all must
  // Stay.
  std::vector<PublicKey> TakeRemovable(size_t count);
  // It does not leave for now; its time is over as before.
  void Stay(const PublicKey& key);
  // Peers that had begun to leave and have come back to life by themselves.
  std::vector<PublicKey> TakeReturned();

  // --- a dump ---
  void BeginDump() { ++dump_; }
  // Notes what the dump says of a peer. Its saved mark moves over handshakes that it made past us.
  // Returns: true when this is the first sign that its session is confirmed.
  bool Observe(const PublicKey& key, const wgdev::PeerStats& stats, absl::Duration steady_now,
               absl::Time wall_now);
  // Returns: the peers that somebody else has removed: they were in the device before the dump
  // ahead of this one began, and neither shows them. An interrupted dump proves nothing.
  std::vector<PublicKey> EndDump(bool complete);

  // The sessions that have changed since they were last taken.
  std::vector<std::pair<PublicKey, store::Session>> TakeDirty();

 private:
  using Index = absl::btree_set<std::pair<absl::Duration, PublicKey>>;
  Index& IndexOf(const Resident& peer) { return peer.confirmed ? established_ : probation_; }
  void Enter(const PublicKey& key, Resident* peer);
  // Pinned peers stay whether they confirm or not, and take no probation slot.
  void BeginProbation(const Resident& peer);
  void EndProbation(const Resident& peer);
  void Withdraw(const PublicKey& key, Resident* peer);
  void BeginLeavingFrom(Index* index, absl::Duration lifetime, absl::Duration steady_now,
                        size_t count, std::vector<PublicKey>* leaving);

  absl::Duration evict_after_;
  absl::btree_map<PublicKey, Resident> peers_;
  // By a sign of life, not always the last one. Peers that leave and pinned peers are in neither.
  Index probation_, established_;
  std::deque<PublicKey> removable_;
  std::vector<PublicKey> returned_, dirty_;
  size_t on_probation_ = 0;
  absl::flat_hash_map<Address, size_t> on_probation_from_;  // none that is 0
  uint64_t dump_ = 0;
};

}  // namespace wicket::installer
