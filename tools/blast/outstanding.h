// The handshakes whose answers are awaited.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <queue>
#include <vector>

#include "tools/blast/packets.h"

namespace wicket::blast {

struct LoadOptions;

// An answer's receiver index is the sender index of the handshake. The handshake is in slot
// index % slots until its answer has arrived or its deadline has passed:
//
//   free --Add--> response awaited --AwaitPong--> answer to a ping awaited
//                   |          |                     |
//                 GiveUp     Forget           Forget or GiveUp
//                   |          |                     |
//                  lost       free                  free
//
// No I/O: the time is an argument, CLOCK_MONOTONIC in ns. Thread: one.
class Outstanding {
 public:
  struct Handshake {
    Packet packet;
    uint64_t source = 0;       // that the packet left from
    uint64_t intended_ns = 0;  // the schedule's time of the client's first attempt
    uint64_t attempts = 1;     // of the client, including this one
    // nullopt: the response is awaited. Otherwise the number of the session that the response
    // made, and the answer to a ping in that session is awaited.
    std::optional<size_t> session;

    uint32_t index() const;
  };

  // Requires: `slots` is at least 1.
  explicit Outstanding(size_t slots) : slots_(slots) {}
  // Returns: slots for the handshakes that one thread of a load can have under way at once: a power
  //          of two, kInFlightMax at most.
  static size_t SlotsFor(const LoadOptions& options);

  // Awaits the response to `handshake` until `deadline_ns`. Gives up the handshake that was in the
  // slot. Requires: handshake.session is nullopt. Returns: handshakes lost, 0 or 1.
  [[nodiscard]] uint64_t Add(Handshake handshake, uint64_t deadline_ns);

  // The handshake with sender index `index` whose response is awaited; null when there is none.
  // The pointer is valid until Forget(), GiveUp(), or an Add() that takes the slot.
  Handshake* FindHandshake(uint32_t index);
  // The handshake with sender index `index` whose ping is awaited; null when there is none.
  Handshake* FindPing(uint32_t index);

  // The response has arrived, and a ping has been sent in the session that it made. The answer to
  // the ping is awaited until `deadline_ns` or until the response's deadline, whichever is earlier.
  void AwaitPong(Handshake* handshake, size_t session, uint64_t deadline_ns);

  // Frees the slot: the answer has arrived, or no longer matters.
  void Forget(Handshake* handshake);
  // Frees the slot: no answer has arrived. Returns: handshakes lost; 1, or 0 when only the ping has
  // no answer.
  [[nodiscard]] uint64_t GiveUp(Handshake* handshake);
  // Gives up all handshakes. Returns: handshakes lost.
  [[nodiscard]] uint64_t GiveUpAll();

  // Removes deadlines before `now_ns` up to the first of a handshake whose answer is still awaited.
  // Returns: that handshake, for the caller to forget or to give up; null when there is none.
  Handshake* TakeExpired(uint64_t now_ns);
  // The next deadline; it may be one of a handshake that was answered. nullopt: none is left.
  std::optional<uint64_t> NextDeadline() const {
    return deadlines_.empty() ? std::nullopt : std::optional(deadlines_.top().at_ns);
  }

  // Handshakes that are not given up or forgotten.
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
