// The shards' queues to one installer.
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "intake/demand.h"

namespace wicket::intake {

// Thread: one; the shards fill the queues at the same time.
class DemandQueues {
 public:
  void Add(std::shared_ptr<DemandQueue> queue) { queues_.push_back({std::move(queue)}); }
  // Marks a queue that gets no more requests. DropClosed removes it once it is empty.
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

  // Drops requests from the head of each queue, as long as `is_late` returns true.
  void DropLate(absl::FunctionRef<bool(const Demand&)> is_late) {
    for (const Entry& entry : queues_) {
      for (const Demand* oldest; (oldest = entry.queue->Peek()) && is_late(*oldest);) {
        entry.queue->Release();
      }
    }
  }

  // Returns: the next queue with a request, or nullptr. Round robin: a crowded queue does not keep
  //          the others waiting, however small the batches are.
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
