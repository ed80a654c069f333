// The shards' queues to one installer.
#pragma once

#include <vector>

#include "absl/functional/function_ref.h"
#include "intake/demand.h"

namespace wicket::intake {

// Thread: one; the shards fill the queues meanwhile.
class DemandQueues {
 public:
  void Add(DemandQueue* queue) { queues_.push_back(queue); }
  void Remove(DemandQueue* queue) { std::erase(queues_, queue); }

  size_t Waiting() const {
    size_t waiting = 0;
    for (const DemandQueue* queue : queues_) waiting += queue->Size();
    return waiting;
  }

  // Takes the oldest requests out, as long as `is_late` says so.
  void DropLate(absl::FunctionRef<bool(const Demand&)> is_late) {
    for (DemandQueue* queue : queues_) {
      for (const Demand* oldest; (oldest = queue->Peek()) && is_late(*oldest);) {
        queue->Release();
      }
    }
  }

  // Returns: the next one that has a request; nullptr when none has. Each comes in its turn,
  // however small the batches are: one crowded queue does not keep the others waiting.
  DemandQueue* Next() {
    for (size_t tried = 0; tried < queues_.size(); ++tried) {
      DemandQueue* queue = queues_[next_++ % queues_.size()];
      if (queue->Peek() != nullptr) return queue;
    }
    return nullptr;
  }

 private:
  std::vector<DemandQueue*> queues_;
  size_t next_ = 0;
};

}  // namespace wicket::intake
