// Whether more comes in than a shard can prove.
#pragma once

#include <cstdint>

namespace wicket::shard {

// Two signs, either of which counts: so many frames wait, or the ring was not seen empty for
// so long that the oldest frame in it has waited for most of that. What is raised stays for a
// second, as WireGuard has it, and for as long as so many come without a cookie that they would
// raise it again.
//
// Thread: one.
class LoadDetector {
 public:
  static constexpr uint32_t kWaitingMax = 256;         // an eighth of the ring
  static constexpr uint64_t kBusyMax_ns = 50'000'000;  // some 500 handshakes one at a time
  static constexpr uint64_t kSticky_ns = 1'000'000'000;

  static constexpr uint64_t kAskedMax = 2000;  // a second
  static constexpr uint64_t kWindow_ns = 100'000'000;

  // How many more were answered with a cookie, by whomever. At least once a window.
  void NoteAsked(uint64_t asked, uint64_t now_ns) {
    asked_ += asked;
    if (now_ns - window_began_ns_ >= kWindow_ns) {
      const bool many = asked_ * 1'000'000'000 >= kAskedMax * (now_ns - window_began_ns_);
      if (many && UnderLoad(now_ns)) until_ns_ = now_ns + kSticky_ns;
      window_began_ns_ = now_ns;
      asked_ = 0;
    }
  }
  // After each batch. `waiting`: frames in the ring that were not in it.
  void Note(uint32_t waiting, uint64_t now_ns) {
    if (waiting == 0) {
      busy_since_ns_ = now_ns;
    } else if (waiting >= kWaitingMax || now_ns - busy_since_ns_ >= kBusyMax_ns) {
      Raise(now_ns);
    }
  }
  // For what the ring does not show.
  void Raise(uint64_t now_ns) {
    raised_ += now_ns >= until_ns_;
    until_ns_ = now_ns + kSticky_ns;
  }
  // The ring was found empty.
  void NoteIdle(uint64_t now_ns) { busy_since_ns_ = now_ns; }

  bool UnderLoad(uint64_t now_ns) const { return now_ns < until_ns_; }
  uint64_t until_ns() const { return until_ns_; }
  uint64_t raised() const { return raised_; }

 private:
  uint64_t busy_since_ns_ = 0;
  uint64_t window_began_ns_ = 0, asked_ = 0;
  uint64_t until_ns_ = 0;
  uint64_t raised_ = 0;
};

}  // namespace wicket::shard
