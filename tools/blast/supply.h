// The packets that a thread sends next.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <utility>

#include "absl/functional/function_ref.h"
#include "tools/blast/load.h"
#include "tools/blast/session.h"

namespace wicket::blast {

// Chooses a packet for each turn of the schedule, by the mix and by the clients that are left, and
// makes the packets of several turns together. A thread has the clients whose number is the
// thread's modulo the threads.
//
// No I/O: the time is an argument. Thread: one.
class Supply {
 public:
  // Turns whose handshakes are made side by side.
  static constexpr uint64_t kTogether = 16;

  // `sessions`: those that the clients have. `counts`: its `clients` and `exhausted` are counted
  // here. All pointers must outlive the supply.
  // Requires: with clients.known, a client for each thread.
  Supply(const LoadOptions& options, const Fleet* fleet, uint32_t thread, const Sessions* sessions,
         Random* random, Counts* counts);

  // Makes the packets of the next turns, at most `turns`. `now_ns`: CLOCK_MONOTONIC.
  // `stamp_of(k)`: the time in the handshake of turn k, counted from this call's first.
  // Returns: turns made; fewer than `turns` when one needs a new client and none is left.
  uint64_t Make(uint64_t turns, uint64_t now_ns, absl::FunctionRef<absl::Time(uint64_t)> stamp_of);

  // Whether every turn that was made has been taken.
  bool empty() const { return made_.empty(); }
  // The packet of the next turn. Requires: !empty().
  // Returns: nullopt when the turn passes without a packet: it wanted a client with a session and
  //          no client has one, or no handshake is possible with the target's key.
  std::optional<Packet> Take() {
    std::optional<Packet> packet = std::move(made_.front());
    made_.pop_front();
    return packet;
  }

  // A client's further attempt: the same kind of handshake, with another sender index.
  // Returns: nullopt when no handshake is possible with the target's key.
  std::optional<Packet> MakeAgain(const Packet& packet, absl::Time stamp);

 private:
  struct Turn {
    std::optional<PacketOrder> order;  // nullopt: no packet
    bool exhausted = false;            // it needs a new client and none is left
  };

  Turn Plan(uint64_t now_ns);
  Turn PlanNewcomer(Kind kind);
  Turn PlanSession(Kind kind, uint64_t now_ns);
  uint32_t NextIndex() { return thread_ << 24 | (++index_ & 0xffffff); }

  const Mix mix_;
  const bool known_;
  const Fleet* const fleet_;
  const Sessions* const sessions_;
  Random* const random_;
  Counts* const counts_;
  const uint32_t thread_;
  const uint64_t threads_;
  PacketMaker maker_;
  std::deque<std::optional<Packet>> made_;  // a turn each
  uint64_t next_client_;
  uint64_t rotation_ = 0;  // through the clients that have come before
  uint32_t index_ = 0;     // of the last handshake; the top byte of an index is the thread
};

}  // namespace wicket::blast
