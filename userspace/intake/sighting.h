// What became of an initiation, for the event log.
#pragma once

#include <atomic>

#include "absl/time/time.h"
#include "base/address.h"
#include "base/key.h"
#include "base/spsc_queue.h"
#include "intake/verdict.h"

namespace wicket::intake {

struct Sighting {
  absl::Time at;
  Verdict verdict;
  uint16_t device = 0;   // index of the configuration
  Endpoint source;       // family kNone: the bytes held no initiation
  PublicKey public_key;  // of a sender that has proven it; else zero
};

using SightingQueue = SpscQueue<Sighting>;
inline constexpr size_t kSightingQueueCapacity = 1024;
// Refused packets of a flood are all alike and must leave room for proven ones. The queue is
// emptied twice a second.
inline constexpr size_t kRefusedSightingsMax = 64;

// Where a pipeline reports what it has seen.
struct SightingSink {
  // Sightings are queued only while somebody watches. A full queue loses them, and refused ones
  // are lost from kRefusedSightingsMax on.
  const std::atomic<int>* watchers = nullptr;
  SightingQueue* queue = nullptr;
  // Sources of refused packets are always noted here; STEER_SKETCH_WORDS words. [xdp/sketch.h]
  std::atomic<uint64_t>* sketch = nullptr;
};

}  // namespace wicket::intake
