// Judges a batch of arrivals, without any I/O.
//
//   arrival -> mac1 -> repeat? -> e es s -> stored? -> ss t -> fresh? -> Demand
//                                 claim                proof
//                       |         `---- side by side ----´
//                  under load, or beyond the budget: cookie?
//
// The second multiplication is spent only on claims of stored or foreign peers. A sender that has
// not proven its key gets at most a cookie reply.
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "crypto/curve25519.h"
#include "guard/budget.h"
#include "guard/repeat_filter.h"
#include "intake/arrival.h"
#include "intake/demand.h"
#include "intake/device_table.h"
#include "intake/sighting.h"
#include "intake/verdict.h"
#include "noise/responder.h"
#include "noise/responder_batch.h"
#include "store/snapshot.h"

namespace wicket::intake {

struct Now {
  uint64_t ktime_ns = 0;
  Instant clock;
  bool under_load = false;
};

// Thread: one.
class Pipeline {
 public:
  static constexpr size_t kBatchMax = noise::ResponderBatch::kMessagesMax;
  static constexpr size_t kLanes = noise::ResponderBatch::kLanes;

  // `queues[d]` leads to the installer of device d, for every device of a table. Queues, counters
  // and what `sink` points to outlive this.
  Pipeline(store::Snapshot snapshot, std::vector<DemandQueue*> queues, int ifindex,
           VerdictCounters* counters, SightingSink sink = {},
           crypto::X25519Backend backend = crypto::FastestX25519());

  // Judges the arrivals of a batch, and proves their handshakes in parallel. A lone handshake is
  // not delayed: it takes the path that is fastest for one.
  //
  // Requires: Begin() succeeded for this batch; at most kBatchMax arrivals.
  // Returns:  a verdict for each, valid until the next call. After kCookie the arrival's frame
  //           holds the reply, reply_bytes(i) long, for the caller to send.
  // Cost:     no allocation, no lock; BM_PipelineProven, BM_PipelineUnknown.
  std::span<const Verdict> RunBatch(const DeviceTable& devices, std::span<const Arrival> arrivals,
                                    const Now& now);
  uint32_t reply_bytes(size_t i) const { return candidates_[i].reply_bytes; }
  // How many of `waiting` frames to run at once. A set of lanes costs the same whether it is full
  // or not. So frames that would fill a set only in part are left for the next batch, which later
  // arrivals join, and the frames before them are done sooner.
  size_t BatchFor(size_t waiting) const {
    const size_t n = std::min(waiting, kBatchMax);
    return batches() && n > kLanes ? n - n % kLanes : n;
  }
  // False when handshakes are proven one at a time: the back end is portable, or memory cannot be
  // locked.
  bool batches() const { return static_cast<bool>(batch_); }
  // Of the last batch: the time of a proof with all lanes filled, or 0 when the batch does not
  // tell; and whether the budget of a device was spent.
  uint64_t proof_ns() const { return load_.proof_ns; }
  bool beyond_budget() const { return load_.beyond_budget; }
  // Counts a reply that could not be sent, besides its kCookie.
  void CountLostReply() { counters_->Add(Verdict::kCookieLost, 1); }

  // Begin() and End() enclose one batch, which sees one state of the store.
  absl::Status Begin() { return snapshot_.Renew(); }
  void End() { snapshot_.Release(); }
  // Counts the frames of a batch that could not begin.
  void CountUnreadable(size_t frames) { counters_->Add(Verdict::kStoreUnreadable, frames); }

 private:
  // What the last batch says of the load.
  struct Load {
    uint64_t proof_ns = 0;
    bool beyond_budget = false;
  };

  // An arrival on its way through the checks.
  struct Candidate {
    const Arrival* arrival = nullptr;
    bool foreign = false;
    bool source_proven = false;
    uint32_t reply_bytes = 0;
    Sighting sighting;
  };

  // Each returns kProven to go on, or the reason to stop.
  //
  // Checks for an initiation to a served port, then mac1, repeat, cookie and budget.
  Verdict Screen(const DeviceTable& devices, const Now& now, Candidate* candidate);
  // Decides whether to prove the claimed key: that of a stored or a foreign peer.
  Verdict Admit(const DeviceTable::Entry& device, const PublicKey& key, const Now& now,
                Candidate* candidate) const;
  Verdict FindPeer(const DeviceTable::Entry& device, const PublicKey& key, const Now& now) const;
  // Checks freshness, and puts a Demand into the installer's queue.
  Verdict Deliver(const PublicKey& key, const Tai64n& stamp, const Now& now, Candidate* candidate);

  void NoteRefused(const Endpoint& source);

  // Prove the handshakes of one device: of one candidate, or of waiting_[0, n).
  Verdict ProveAlone(const DeviceTable::Entry& device, const Now& now, Candidate* candidate);
  void ProveTogether(const DeviceTable::Entry& device, const Now& now, size_t n);

  store::Snapshot snapshot_;
  std::vector<DemandQueue*> queues_;
  int ifindex_;
  VerdictCounters* counters_;
  SightingSink sink_;
  size_t refused_sightings_ = 0;  // since the queue was last empty
  guard::RepeatFilter repeats_;
  std::vector<guard::HandshakeBudget> budgets_;  // by device index
  guard::Bucket cookies_;
  crypto::X25519Backend backend_;
  std::array<Candidate, kBatchMax> candidates_;
  std::array<Verdict, kBatchMax> verdicts_;
  std::array<size_t, kBatchMax> waiting_;  // indices of candidates
  crypto::Locked<noise::ResponderBatch> batch_;
  Load load_;
};

}  // namespace wicket::intake
