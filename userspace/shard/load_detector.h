// Detects when more arrives than a shard can prove.
#pragma once

#include <algorithm>
#include <cstdint>

namespace wicket::shard {

// A shard is under load when a full batch or more is still queued behind the current one and any of
// these holds: the oldest frame has waited 20 ms; the newest will have, at the measured cost of a
// proof; the ring is three quarters full; or the backlog has lasted 50 ms. Frames that arrive while
// a batch is at work are no sign of load: they are the next batch.
//
// The state lasts for a second, as in WireGuard. It is extended while proving
// all senders without a cookie would take three quarters of the shard's time, or of its budget.
//
// Thread: one.
class LoadDetector {
 public:
  static constexpr uint32_t kWaitingMax = 1536;           // frames: three quarters of the ring
  static constexpr uint64_t kBacklogMax_ns = 20'000'000;  // for one frame to wait
  static constexpr uint32_t kLeftOver = 64;               // frames: the largest batch
  static constexpr uint64_t kBusyMax_ns = 50'000'000;     // some 500 handshakes one at a time
  static constexpr uint64_t kSticky_ns = 1'000'000'000;

  static constexpr uint64_t kWindow_ns = 100'000'000;

  // `batches`: whether handshakes are proven in batches; selects the cost of a proof to assume
  // until it is measured.
  explicit LoadDetector(bool batches = false) : proof_ns_(batches ? 25'000 : 100'000) {}

  // Notes the cost of a proof in the last batch.
  void NoteProof(uint64_t took_ns) {
    const uint64_t cost_ns = std::clamp<uint64_t>(took_ns, 1'000, 1'000'000);
    proof_ns_ += cost_ns / 16 - proof_ns_ / 16;
  }
  // Sets the limit of proofs a second, whatever they cost. Requires: it is not 0.
  void SetBudget(uint64_t per_second) { budget_ = per_second; }
  // Notes `asked` more senders that were answered with a cookie, by the shard or by the program.
  // Requires: a call at least once a window.
  void NoteAsked(uint64_t asked, uint64_t now_ns) {
    asked_ += asked;
    if (now_ns - window_began_ns_ >= kWindow_ns) {
      const uint64_t cost_ns = std::max(proof_ns_, 1'000'000'000 / budget_);
      const bool many = asked_ * cost_ns >= (now_ns - window_began_ns_) * 3 / 4;
      if (many && UnderLoad(now_ns)) until_ns_ = now_ns + kSticky_ns;
      window_began_ns_ = now_ns;
      asked_ = 0;
    }
  }
  // Notes a batch before it runs. `taken`: frames in it; `waiting`: frames in the ring behind it.
  void Note(uint32_t taken, uint32_t waiting, uint64_t now_ns) {
    // Frames carry no time of arrival. So the frames behind a batch are marked; until the last of
    // them is taken, the oldest frame has waited at least since then.
    waited_ns_ = marked_ > 0 ? now_ns - marked_at_ns_ : 0;
    marked_ = std::min(marked_ - std::min(marked_, taken), waiting);
    if (marked_ == 0) {
      marked_ = waiting;
      marked_at_ns_ = now_ns;
    }
    if (waiting < kLeftOver) {
      busy_since_ns_ = now_ns;
    } else if (waiting >= kWaitingMax || waited_ns_ >= kBacklogMax_ns ||
               waiting * proof_ns_ >= kBacklogMax_ns || now_ns - busy_since_ns_ >= kBusyMax_ns) {
      Raise(now_ns);
    }
  }
  // Raises the state for signs that the ring does not show.
  void Raise(uint64_t now_ns) {
    raised_ += now_ns >= until_ns_;
    until_ns_ = now_ns + kSticky_ns;
  }
  // Notes that the ring was found empty.
  void NoteIdle(uint64_t now_ns) {
    busy_since_ns_ = now_ns;
    marked_ = 0;
  }
  // How long the oldest frame of the last batch had waited, within the time of a batch; 0 when it
  // arrived after the batch before.
  uint64_t waited_ns() const { return waited_ns_; }

  bool UnderLoad(uint64_t now_ns) const { return now_ns < until_ns_; }
  uint64_t until_ns() const { return until_ns_; }
  uint64_t raised() const { return raised_; }

 private:
  uint64_t budget_ = 1'000'000'000;
  uint64_t proof_ns_;
  uint64_t busy_since_ns_ = 0;
  uint32_t marked_ = 0;  // frames queued at marked_at_ns_ that still are
  uint64_t marked_at_ns_ = 0, waited_ns_ = 0;
  uint64_t window_began_ns_ = 0, asked_ = 0;
  uint64_t until_ns_ = 0;
  uint64_t raised_ = 0;
};

}  // namespace wicket::shard
