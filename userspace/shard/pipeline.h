// What a shard does to a batch of frames, without any I/O.
//
//   frame -> parse -> mac1 -> repeat? -> e es s -> stored? -> ss t -> fresh? -> InstallRequest
//                              |         claim                proof
//                         under load: cookie?
//
// The second multiplication is spent on stored peers only, and nothing leaves
// the pipeline for a sender who has not proven its key.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "base/spsc_queue.h"
#include "crypto/curve25519.h"
#include "guard/budget.h"
#include "guard/repeat_filter.h"
#include "noise/cookie.h"
#include "noise/responder.h"
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
  bool foreign = false;  // in the device, not of ours: to be given back and no more
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

// Where sightings go while somebody watches. When the queue is full they are lost.
struct Watch {
  const std::atomic<int>* watchers = nullptr;
  SightingQueue* queue = nullptr;
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
  };
  std::vector<Entry> devices;  // by index of the configuration
  std::shared_ptr<const noise::CookieSecrets> cookies;
};

struct Now {
  uint64_t ktime_ns = 0;
  absl::Time wall;
  bool under_load = false;
};

// Thread: one.
class Pipeline {
 public:
  // `queues[d]` leads to the installer of device d. Neither is owned.
  Pipeline(store::Snapshot snapshot, std::vector<RequestQueue*> queues, int ifindex,
           VerdictCounters* counters, Watch watch = {});

  // Runs one frame. The frame may be overwritten as soon as this returns. With kCookie it has
  // become the reply, `*reply_bytes` long, which is to be sent.
  // Requires: Begin() since the batch began.
  // Cost:     no allocation, no lock; BM_PipelineProven, BM_PipelineUnknown.
  Verdict Run(const DeviceTable& devices, std::span<uint8_t> frame, const Now& now,
              uint32_t* reply_bytes);
  // A reply could not be sent.
  void CountLostReply() { counters_->Add(Verdict::kCookieLost, 1); }

  // Between them lies one batch, which sees one state of the store.
  absl::Status Begin() { return snapshot_.Renew(); }
  void End() { snapshot_.Release(); }
  // Counts the frames of a batch that could not begin.
  void CountUnreadable(size_t frames) { counters_->Add(Verdict::kStoreUnreadable, frames); }

 private:
  // Kept out of Judge(): whether the claimed key may be proven here, and why not.
  Verdict Admit(const DeviceTable::Entry& device, const PublicKey& key, const Now& now) const;
  Verdict Judge(const DeviceTable& devices, std::span<uint8_t> bytes, const Now& now,
                Sighting* sighting, uint32_t* reply_bytes);

  store::Snapshot snapshot_;
  std::vector<RequestQueue*> queues_;
  int ifindex_;
  VerdictCounters* counters_;
  Watch watch_;
  guard::RepeatFilter repeats_;
  std::vector<guard::HandshakeBudget> budgets_;  // by device index
};

}  // namespace wicket::shard
