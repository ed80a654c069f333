// The answers that a thread has received and not examined yet.
#pragma once

#include <cstdint>
#include <deque>

#include "tools/blast/mailbox.h"
#include "tools/blast/port.h"

namespace wicket::blast {

// Each answer has the time of its arrival. To verify an answer takes as long as hundreds of packets
// take to arrive, so all answers are received before the first is examined.
//
// Thread: one.
class Inbox {
 public:
  // `mailboxes`: of all threads; null: every answer that arrives is this thread's own.
  Inbox(uint32_t thread, Mailboxes* mailboxes) : thread_(thread), mailboxes_(mailboxes) {}

  // Takes the answers that the port has received and those that other threads have posted. Waits
  // for the port for at most `wait_ns`; for less where other threads may post; not at all when an
  // answer is still to be examined.
  void Receive(Port* port, uint64_t wait_ns);

  bool empty() const { return letters_.empty(); }
  // The answer that was taken first. Of those behind it, one that another thread posted may have
  // arrived earlier. Requires: !empty().
  const Letter& front() const { return letters_.front(); }
  void Pop() { letters_.pop_front(); }

  // Time spent in waits until now.
  uint64_t waited_ns() const { return waited_ns_; }

 private:
  void Sort(Letter letter);

  const uint32_t thread_;
  Mailboxes* const mailboxes_;
  std::deque<Letter> letters_;
  uint64_t waited_ns_ = 0;
};

}  // namespace wicket::blast
