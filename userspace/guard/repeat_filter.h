// Remembers recent packets, so that an exact repeat costs no Diffie-Hellman.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <memory>

namespace wicket::guard {

// A fixed table of the mac1 values of recent packets.
//
// Forgetting is harmless: a repeat that passes is refused by the replay guard, later and at a
// higher cost. So a new packet simply overwrites its slot.
//
// Thread: one.
class RepeatFilter {
 public:
  using Mac = std::array<uint8_t, 16>;

  // Notes the packet. Returns: true when the same packet is still remembered.
  // Requires: mac1 was verified; otherwise a sender could choose the slots.
  bool SeenBefore(const Mac& mac1) {
    uint64_t index;
    memcpy(&index, mac1.data(), sizeof(index));
    Mac& slot = (*slots_)[index % kSlots];
    if (slot == mac1) return true;
    slot = mac1;
    return false;
  }

 private:
  static constexpr size_t kSlots = 4096;  // 64 KiB: stays in the shard's CPU cache
  std::unique_ptr<std::array<Mac, kSlots>> slots_ = std::make_unique<std::array<Mac, kSlots>>();
};

}  // namespace wicket::guard
