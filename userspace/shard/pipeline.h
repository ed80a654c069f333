// What a shard does to a batch of frames, without any I/O.
//
//   frame -> parse -> mac1 -> repeat? -> e es s -> stored? -> ss t -> fresh? -> InstallRequest
//                                        claim                proof
//                              |         `---- side by side ----´
//                         under load, or beyond the budget: cookie?
//
// The second multiplication is spent on stored peers only, and nothing leaves
// the pipeline for a sender who has not proven its key.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/spsc_queue.h"
#include "crypto/curve25519.h"
#include "guard/budget.h"
#include "guard/repeat_filter.h"
#include "noise/cookie.h"
#include "noise/responder.h"
#include "noise/responder_batch.h"
#include "shard/verdict.h"
#include "store/store.h"
#include "wire/messages.h"
#include "xdp/steer_abi.h"

namespace wicket::shard {

// A proven initiation on its way to the installer, with a copy of its frame.
struct InstallRequest {
  PublicKey public_key;
  Tai64n stamp;
  Endpoint source;
  uint64_t seen_ns = 0;  // KtimeNanos() when the shard took the frame
  int ifindex = 0;
  uint16_t port = 0;
  uint16_t ip_offset = 0;
  uint16_t udp_offset = 0;
  uint16_t frame_bytes = 0;
  bool foreign = false;        // in the device, not of ours: to be given back and no more
  bool source_proven = false;  // by a cookie
  std::array<uint8_t, STEER_FRAME_MAX> frame;
};

using RequestQueue = SpscQueue<InstallRequest>;
inline constexpr size_t kRequestQueueCapacity = 1024;

// What became of an initiation, for whoever watches.
struct Sighting {
  absl::Time at;
  Verdict verdict;
  uint16_t device = 0;   // index of the configuration
  Endpoint source;       // family kNone: it was not even parsed
  PublicKey public_key;  // of a sender who has proven it; else zero
};

using SightingQueue = SpscQueue<Sighting>;
inline constexpr size_t kSightingQueueCapacity = 1024;
// A flood's are all alike, and must not keep out whom it is about. The queue is emptied twice a
// second.
inline constexpr size_t kRefusedSightingsMax = 64;

// Where sightings go while somebody watches. When the queue is full they are lost, and those of
// refused packets after the first so many. And where it is always noted whose packets were refused
// [xdp/sketch.h].
struct Watch {
  const std::atomic<int>* watchers = nullptr;
  SightingQueue* queue = nullptr;
  std::atomic<uint64_t>* sketch = nullptr;  // STEER_SKETCH_WORDS of them
};

using ForeignPeers = absl::flat_hash_set<PublicKey>;

// The devices a shard answers for, as one immutable table. The gateway publishes
// a new one when a key or a port changes.
struct DeviceTable {
  struct Entry {
    std::string name;
    uint16_t port = 0;
    std::shared_ptr<const crypto::Locked<noise::Identity>> identity;  // null: device away
    // Peers in the device that are not ours. They are proven like any other, and
    // given back untouched.
    std::shared_ptr<const ForeignPeers> foreign;
    uint64_t handshakes_per_second = 0;  // that one shard may prove
    // Its probation: whoever comes is to prove his address first. The installer's.
    const std::atomic<bool>* crowded = nullptr;
  };
  std::vector<Entry> devices;  // by index of the configuration
  std::shared_ptr<const noise::CookieSecrets> cookies;
  uint64_t cookie_interval_ns = 0;  // from one cookie reply of a shard to its next; 0: no limit
};

struct Now {
  uint64_t ktime_ns = 0;
  absl::Time wall;
  bool under_load = false;
};

// Thread: one.
class Pipeline {
 public:
  static constexpr size_t kBatchMax = noise::ResponderBatch::kMessagesMax;
  static constexpr size_t kLanes = noise::ResponderBatch::kLanes;
  using Frame = std::span<uint8_t>;

  // `queues[d]` leads to the installer of device d. Neither is owned.
  Pipeline(store::Snapshot snapshot, std::vector<RequestQueue*> queues, int ifindex,
           VerdictCounters* counters, Watch watch = {},
           crypto::X25519Backend backend = crypto::FastestX25519());

  // Runs the frames of a ring's batch, their handshakes side by side. One by
  // itself is not held up: it takes the path that is fastest for one.
  //
  // Requires: Begin() since the batch began; at most kBatchMax frames, which
  //           stay as they are until this returns.
  // Returns:  a verdict for each, valid until the next call. With kCookie the frame has
  //           become the reply, reply_bytes(i) long, which is to be sent.
  // Cost:     no allocation, no lock; BM_PipelineProven, BM_PipelineUnknown.
  std::span<const Verdict> RunBatch(const DeviceTable& devices, std::span<const Frame> frames,
                                    const Now& now);
  Verdict Run(const DeviceTable& devices, Frame frame, const Now& now) {
    return RunBatch(devices, {&frame, 1}, now).front();
  }
  uint32_t reply_bytes(size_t i) const { return candidates_[i].reply_bytes; }
  // How many of so many frames to run at once. A set of lanes takes as long however many of them
  // are filled, so what would fill one in part comes first in the next batch instead, together
  // with whatever arrives until then; those before it are done the sooner.
  size_t BatchFor(size_t waiting) const {
    const size_t n = std::min(waiting, kBatchMax);
    return batches() && n > kLanes ? n - n % kLanes : n;
  }
  // False when handshakes are proven one at a time: as asked, or for want of lockable memory.
  bool batches() const { return static_cast<bool>(batch_); }
  // Of the last batch: what a proof took with all lanes filled, or 0 when it does not tell; and
  // whether a device's budget was spent.
  uint64_t proof_ns() const { return proof_ns_; }
  bool beyond_budget() const { return beyond_budget_; }
  // A reply could not be sent.
  void CountLostReply() { counters_->Add(Verdict::kCookieLost, 1); }

  // Between them lies one batch, which sees one state of the store.
  absl::Status Begin() { return snapshot_.Renew(); }
  void End() { snapshot_.Release(); }
  // Counts the frames of a batch that could not begin.
  void CountUnreadable(size_t frames) { counters_->Add(Verdict::kStoreUnreadable, frames); }

 private:
  // A frame on its way through the checks.
  struct Candidate {
    Frame bytes;
    wire::Frame frame;
    bool foreign = false;
    bool source_proven = false;
    uint32_t reply_bytes = 0;
    Sighting sighting;
  };

  // Each returns kProven for what may go on, or why it may not.
  //
  // Parse, mac1, repeat, cookie, budget.
  Verdict Screen(const DeviceTable& devices, const Now& now, Candidate* candidate);
  // Whether the claimed key may be proven here, as a peer of ours or of others.
  Verdict Admit(const DeviceTable::Entry& device, const PublicKey& key, const Now& now,
                Candidate* candidate) const;
  Verdict FindPeer(const DeviceTable::Entry& device, const PublicKey& key, const Now& now) const;
  // Fresh, and room in the installer's queue.
  Verdict Deliver(const PublicKey& key, const Tai64n& stamp, const Now& now, Candidate* candidate);

  void NoteRefused(const Endpoint& source);

  // The handshakes of one device, waiting_[0, n).
  Verdict ProveAlone(const DeviceTable::Entry& device, const Now& now, Candidate* candidate);
  void ProveTogether(const DeviceTable::Entry& device, const Now& now, size_t n);

  store::Snapshot snapshot_;
  std::vector<RequestQueue*> queues_;
  int ifindex_;
  VerdictCounters* counters_;
  Watch watch_;
  size_t refused_sightings_ = 0;  // since the queue was empty
  guard::RepeatFilter repeats_;
  std::vector<guard::HandshakeBudget> budgets_;  // by device index
  guard::Bucket cookies_;
  crypto::X25519Backend backend_;
  std::array<Candidate, kBatchMax> candidates_;
  std::array<Verdict, kBatchMax> verdicts_;
  std::array<size_t, kBatchMax> waiting_;  // indices of candidates
  crypto::Locked<noise::ResponderBatch> batch_;
  uint64_t proof_ns_ = 0;
  bool beyond_budget_ = false;
};

}  // namespace wicket::shard
