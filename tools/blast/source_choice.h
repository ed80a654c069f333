// The source that each packet leaves from.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>

#include "tools/blast/load.h"
#include "tools/blast/random.h"

namespace wicket::blast {

// Sources have numbers, see blast::Sources. A thread uses the numbers that are its own modulo the
// threads:
//
//   0 ...          clients
//   clients ...    kRepeat, one a thread: its first copy is valid, so the target may treat all
//                  packets from that source as a client's
//   + threads ...  attackers
//
// Thread: one.
class SourceChoice {
 public:
  // `clients`: size of the fleet. `random` must outlive this.
  SourceChoice(const LoadOptions& options, uint64_t clients, uint32_t thread, Random* random);

  // The sources that the thread sends from.
  SourceRange Range() const;
  // Attackers' packets in succession that have one source. Default: 1.
  void SetRun(uint64_t packets) { run_ = packets; }

  uint64_t OfClient(uint64_t client) const { return client % client_sources_; }
  // The source of a packet that is not out of a capture.
  uint64_t Of(const Packet& packet) {
    if (WantsAnswer(packet.kind) || packet.kind == Kind::kOld) return OfClient(packet.client);
    if (packet.kind == Kind::kRepeat) return client_sources_ + thread_;
    return OfAttacker();
  }
  // The source of packets that come from `from` in the capture, another one in each thread. Senders
  // share sources when there are more senders than the thread has client sources.
  uint64_t OfCaptured(const Endpoint& from);

 private:
  uint64_t OfAttacker() {
    if (left_ == 0) {
      left_ = run_;
      attacker_ = client_sources_ + threads_ + thread_ +
                  random_->Next() % (attack_sources_ / threads_) * threads_;
    }
    --left_;
    return attacker_;
  }

  const uint64_t thread_, threads_;
  const uint64_t client_sources_, attack_sources_;  // of all threads, multiples of their number
  Random* const random_;
  uint64_t run_ = 1;
  uint64_t attacker_ = 0, left_ = 0;  // the current source, and the packets that it still gets
  std::map<Endpoint, uint64_t> captured_;
};

}  // namespace wicket::blast
