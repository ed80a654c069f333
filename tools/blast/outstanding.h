// The handshakes that an answer is awaited to.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <vector>

#include "tools/blast/packets.h"

namespace wicket::blast {

struct LoadOptions;

// The receiver index of an answer is the sender index of what it answers. It finds the slot
// index % slots, and the slot is remembered until the answer comes or its deadline has passed:
//
//   Add --> response awaited --Forget--> free
//                 |      \---Expired, GiveUp--> free, the handshake is lost
//             AwaitPong
//                 v
//           pong awaited ----Forget, Expired, GiveUp--> free
//
// No I/O: the time is an argument, CLOCK_MONOTONIC in ns. Thread: one.
class Outstanding {
 public:
  struct Handshake {
    Packet packet;
    uint64_t source = 0;       // of the packet
    uint64_t intended_ns = 0;  // when the schedule wanted the client's first attempt
    uint64_t attempts = 1;     // the client's, with this one
    // The number of the session that was made of it. With it the answer to a ping is awaited,
    // without it the response.
    std::optional<size_t> session;

    uint32_t index() const;
  };

  // Requires: `slots` is at least 1.
  explicit Outstanding(size_t slots) : slots_(slots) {}
  // Returns: slots for the handshakes that one thread of a load can have under way at once: a power
  //          of two, kInFlightMax at most.
  static size_t SlotsFor(const LoadOptions& options);

  // Awaits the response to `handshake` until `deadline_ns`. What its slot remembered is given up.
  // Returns: handshakes that are lost by that, 0 or 1. Requires: no session yet.
  [[nodiscard]] uint64_t Add(Handshake handshake, uint64_t deadline_ns);

  // The handshake that a response or a cookie reply to `index` answers; null when no response to
  // it is awaited. Valid until it is forgotten or its slot is taken by Add().
  Handshake* FindHandshake(uint32_t index);
  // The same for data: null when no answer to a ping is awaited in that handshake's session.
  Handshake* FindPing(uint32_t index);

  // The response has come, and a ping is under way in the session that it made.
  // The deadline of the response holds for the ping too, when it is the earlier one.
  void AwaitPong(Handshake* handshake, size_t session, uint64_t deadline_ns);

  // Awaits nothing to it any more. `handshake` is invalid after that.
  void Forget(Handshake* handshake);
  // Forget() for lack of an answer. Returns: handshakes that are lost by that, 0 or 1: a ping
  // without an answer is none.
  [[nodiscard]] uint64_t GiveUp(Handshake* handshake);
  // GiveUp() for all. Returns: handshakes that are lost by that.
  [[nodiscard]] uint64_t GiveUpAll();

  // Takes the next deadline before `now_ns`. Returns: what is still awaited then, for the caller to
  // give up or to forget; null when no such deadline is left.
  Handshake* TakeExpired(uint64_t now_ns);
  // Returns: nullopt when none is left. Of what was answered a deadline may be left.
  std::optional<uint64_t> NextDeadline() const {
    return deadlines_.empty() ? std::nullopt : std::optional(deadlines_.top().at_ns);
  }

  // Answers that are awaited.
  uint64_t awaited() const { return awaited_; }

 private:
  struct Deadline {
    uint64_t at_ns;
    uint32_t index;
    friend bool operator>(const Deadline& a, const Deadline& b) { return a.at_ns > b.at_ns; }
  };
  using Slot = std::optional<Handshake>;

  Slot& SlotOf(uint32_t index) { return slots_[index % slots_.size()]; }
  Handshake* Find(uint32_t index);

  std::vector<Slot> slots_;  // nullopt: free
  std::priority_queue<Deadline, std::vector<Deadline>, std::greater<>> deadlines_;
  uint64_t awaited_ = 0;  // slots that are not free
};

}  // namespace wicket::blast
