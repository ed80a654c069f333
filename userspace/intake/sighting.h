// The fate of an initiation, for the event log.
#pragma once

#include <atomic>

#include "absl/time/time.h"
#include "base/address.h"
#include "base/key.h"
#include "base/spsc_queue.h"
#include "intake/verdict.h"

namespace wicket::intake {

struct Sighting {
  static constexpr uint16_t kNoDevice = 0xffff;  // no device of ours was meant

  absl::Time at;
  Verdict verdict;
  uint16_t device = kNoDevice;  // index in the configuration
  Endpoint source;              // family kNone: the frame held no initiation
  PublicKey public_key;         // proven by the sender; else zero
};

using SightingQueue = SpscQueue<Sighting>;
inline constexpr size_t kSightingQueueCapacity = 1024;
// The refused packets of a flood are all alike, and must leave room for proven ones. The queue is
// drained twice a second.
inline constexpr size_t kRefusedSightingsMax = 64;

// The destinations of a pipeline's reports.
struct SightingSink {
  // Without a watcher, only sightings of senders that have proven their key are queued. They are
  // dropped when the queue is full, and refused ones beyond kRefusedSightingsMax since it was last
  // seen empty.
  const std::atomic<int>* watchers = nullptr;
  SightingQueue* queue = nullptr;  // null: none are wanted
  // The sources of refused packets are noted here, watcher or not; STEER_SKETCH_WORDS words, or
  // null. [xdp/sketch.h]
  std::atomic<uint64_t>* sketch = nullptr;
};

}  // namespace wicket::intake
