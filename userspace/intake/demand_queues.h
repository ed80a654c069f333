// The shards' queues to one installer.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "intake/demand.h"

namespace wicket::intake {

// Thread: one; the shards fill the queues meanwhile.
class DemandQueues {
 public:
  void Add(std::shared_ptr<DemandQueue> queue) { queues_.push_back({std::move(queue)}); }
  // Nothing more comes by the queue. It goes once it is empty and DropClosed is called.
  void Close(const DemandQueue* queue) {
    for (Entry& entry : queues_) entry.closed |= entry.queue.get() == queue;
  }
  void DropClosed() {
    std::erase_if(queues_, [](const Entry& entry) { return entry.closed && entry.queue->Empty(); });
  }

  size_t Waiting() const {
    size_t waiting = 0;
    for (const Entry& entry : queues_) waiting += entry.queue->Size();
    return waiting;
  }

  // Takes the oldest requests out, as long as `is_late` says so.
  void DropLate(absl::FunctionRef<bool(const Demand&)> is_late) {
    for (const Entry& entry : queues_) {
      for (const Demand* oldest; (oldest = entry.queue->Peek()) && is_late(*oldest);) {
        entry.queue->Release();
      }
    }
  }

  // Returns: the next one that has a request; nullptr when none has. Each comes in its turn,
  // however small the batches are: one crowded queue does not keep the others waiting.
  DemandQueue* Next() {
    for (size_t tried = 0; tried < queues_.size(); ++tried) {
      DemandQueue* queue = queues_[next_++ % queues_.size()].queue.get();
      if (queue->Peek() != nullptr) return queue;
    }
    return nullptr;
  }

 private:
  struct Entry {
    std::shared_ptr<DemandQueue> queue;
    bool closed = false;
  };

  std::vector<Entry> queues_;
  size_t next_ = 0;
};

}  // namespace wicket::intake
