#include "tools/blast/inbox.h"

#include <algorithm>

#include "base/clock.h"

namespace wicket::blast {
namespace {

constexpr uint64_t kMail_ns = 100'000;  // the longest wait where another thread may post answers

}  // namespace

void Inbox::Receive(Port* port, uint64_t wait_ns) {
  if (mailboxes_ != nullptr) wait_ns = std::min(wait_ns, kMail_ns);
  if (!letters_.empty()) wait_ns = 0;
  const uint64_t began_ns = SteadyNanos();
  uint64_t ended_ns = 0;  // the wait: when the first answer arrived
  port->Receive(wait_ns, [&](std::span<const uint8_t> payload) {
    Letter letter{SteadyNanos(), {payload.begin(), payload.end()}};
    if (ended_ns == 0) ended_ns = letter.arrived_ns;
    Sort(std::move(letter));
  });
  if (wait_ns > 0) waited_ns_ += (ended_ns > 0 ? ended_ns : SteadyNanos()) - began_ns;
  if (mailboxes_ == nullptr) return;
  for (Letter& letter : mailboxes_->Collect(thread_)) letters_.push_back(std::move(letter));
}

// The top byte of the receiver index is the thread's number. The index begins at byte 8 of a
// response, and at byte 4 of a cookie reply and of data.
void Inbox::Sort(Letter letter) {
  if (mailboxes_ != nullptr && letter.payload.size() >= 12) {
    const size_t thread = letter.payload[letter.payload[0] == 2 ? 11 : 7];
    if (thread != thread_) return mailboxes_->Post(thread, std::move(letter));
  }
  letters_.push_back(std::move(letter));
}

}  // namespace wicket::blast
