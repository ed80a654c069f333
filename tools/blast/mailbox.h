// Answers that one thread's port receives for another thread.
//
// AF_XDP delivers an answer to the queue that the NIC chose, and so to that queue's thread. The
// handshake may be another thread's.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace wicket::blast {

// An answer, and when it arrived: when a thread took it from its port.
struct Letter {
  uint64_t arrived_ns;  // CLOCK_MONOTONIC
  std::vector<uint8_t> payload;
};

// A box for each thread. Thread: any.
class Mailboxes {
 public:
  explicit Mailboxes(int threads) : boxes_(static_cast<size_t>(threads)) {}

  // Puts a letter into the box of `thread`. A letter for a thread that does not exist is dropped.
  void Post(size_t thread, Letter letter) {
    if (thread >= boxes_.size()) return;
    Box& box = boxes_[thread];
    const std::lock_guard lock(box.mutex);
    box.letters.push_back(std::move(letter));
    box.any = true;
  }

  // Empties the box of `thread`. Returns: its letters, in the order they were posted in.
  // Requires: the thread exists. Cost: one atomic load when the box is empty.
  std::vector<Letter> Collect(size_t thread) {
    Box& box = boxes_[thread];
    if (!box.any) return {};
    const std::lock_guard lock(box.mutex);
    box.any = false;
    return std::exchange(box.letters, {});
  }

 private:
  struct Box {
    std::mutex mutex;
    std::vector<Letter> letters;
    std::atomic<bool> any{false};
  };
  std::vector<Box> boxes_;
};

}  // namespace wicket::blast
