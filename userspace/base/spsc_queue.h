// A bounded queue from one thread to one other, without locks.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>

namespace wicket {

// The producer fills slots in place and the consumer reads them in place, so an item is written
// once.
//
//   producer: T* slot = queue.Reserve(); if (slot) { ...; queue.Submit(); }
//   consumer: T* item = queue.Peek();    if (item) { ...; queue.Release(); }
//
// Thread: exactly one producer and one consumer.
template <typename T>
class SpscQueue {
 public:
  // Requires: capacity is a power of two.
  explicit SpscQueue(size_t capacity) : mask_(capacity - 1), slots_(new T[capacity]) {}

  // Returns: the slot to fill next, or nullptr when the queue is full.
  T* Reserve() {
    const size_t head = head_.load(std::memory_order_relaxed);
    if (head - cached_tail_ > mask_) {
      cached_tail_ = tail_.load(std::memory_order_acquire);
      if (head - cached_tail_ > mask_) return nullptr;
    }
    return &slots_[head & mask_];
  }
  void Submit() {
    head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  // Returns: the oldest item, or nullptr when the queue is empty.
  T* Peek() {
    const size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail == cached_head_) {
      cached_head_ = head_.load(std::memory_order_acquire);
      if (tail == cached_head_) return nullptr;
    }
    return &slots_[tail & mask_];
  }
  // Thread: any; a snapshot that may be outdated at once.
  size_t Size() const {
    const size_t tail = tail_.load(std::memory_order_acquire);
    return head_.load(std::memory_order_acquire) - tail;
  }
  bool Empty() const { return Size() == 0; }
  void Release() {
    tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

 private:
  const size_t mask_;
  std::unique_ptr<T[]> slots_;
  alignas(64) std::atomic<size_t> head_{0};
  size_t cached_tail_ = 0;  // the producer's
  alignas(64) std::atomic<size_t> tail_{0};
  size_t cached_head_ = 0;  // the consumer's
};

}  // namespace wicket
