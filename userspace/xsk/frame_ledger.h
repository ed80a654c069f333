// Who owns each frame of a UMEM, checked in debug builds.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace wicket::xsk {

#ifdef NDEBUG
inline constexpr bool kLedgerOn = false;
#else
inline constexpr bool kLedgerOn = true;
#endif

// A frame is the kernel's (in a ring, being filled or being sent), ours (taken from the RX ring) or
// nobody's (free to be sent). One that is handed over twice would be written by two owners at once;
// the ledger ends the process there and names the frame.
class FrameLedger {
 public:
  enum class Owner : uint8_t { kNobody, kKernel, kShard };

  FrameLedger(uint32_t frames, uint32_t frame_bytes)
      : frame_bytes_(frame_bytes), owners_(kLedgerOn ? frames : 0, Owner::kNobody) {}

  // Requires: `address` lies in the UMEM.
  void Move(uint64_t address, Owner from, Owner to) {
    if constexpr (kLedgerOn) {
      const uint64_t frame = address / frame_bytes_;
      if (frame >= owners_.size() || owners_[frame] != from) {
        fprintf(stderr, "frame ledger: frame %llu is not with owner %d\n",
                static_cast<unsigned long long>(frame), static_cast<int>(from));
        abort();
      }
      owners_[frame] = to;
    }
  }

 private:
  uint32_t frame_bytes_;
  std::vector<Owner> owners_;
};

}  // namespace wicket::xsk
