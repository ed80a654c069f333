#include "tools/blast/outstanding.h"

#include <string.h>

#include <algorithm>
#include <bit>

#include "tools/blast/load.h"

namespace wicket::blast {
namespace {

constexpr uint64_t kSlotsMin = 1 << 16, kSlotsMax = kInFlightMax;

}  // namespace

uint32_t Outstanding::Handshake::index() const {
  uint32_t index;
  memcpy(&index, packet.handshake.message.sender_index.data(), sizeof(index));
  return index;
}

// Each attempt stays until it is given up.
size_t Outstanding::SlotsFor(const LoadOptions& options) {
  const double rate =
      std::max(options.pace.rate, options.pace.ramp_to.value_or(0)) / options.threads;
  const double attempts = 1 + static_cast<double>(options.patience.retries);
  const double patience_s = absl::ToDoubleSeconds(
      std::max(options.patience.timeout,
               options.patience.retries > 0 ? options.patience.retry_after : absl::ZeroDuration()));
  const double most = std::max(rate * attempts * patience_s,
                               static_cast<double>(options.pace.in_flight.value_or(0)));
  return std::bit_ceil(
      std::clamp(static_cast<uint64_t>(std::min(most, 1e9)), kSlotsMin, kSlotsMax));
}

uint64_t Outstanding::Add(Handshake handshake, uint64_t deadline_ns) {
  const uint32_t index = handshake.index();
  Slot& slot = SlotOf(index);
  const uint64_t lost = slot ? GiveUp(&*slot) : 0;
  slot = std::move(handshake);
  ++awaited_;
  deadlines_.push({deadline_ns, index});
  return lost;
}

Outstanding::Handshake* Outstanding::Find(uint32_t index) {
  Slot& slot = SlotOf(index);
  return slot && slot->index() == index ? &*slot : nullptr;
}

Outstanding::Handshake* Outstanding::FindHandshake(uint32_t index) {
  Handshake* handshake = Find(index);
  return handshake != nullptr && !handshake->session ? handshake : nullptr;
}

Outstanding::Handshake* Outstanding::FindPing(uint32_t index) {
  Handshake* handshake = Find(index);
  return handshake != nullptr && handshake->session ? handshake : nullptr;
}

void Outstanding::AwaitPong(Handshake* handshake, size_t session, uint64_t deadline_ns) {
  handshake->session = session;
  deadlines_.push({deadline_ns, handshake->index()});
}

void Outstanding::Forget(Handshake* handshake) {
  SlotOf(handshake->index()).reset();
  --awaited_;
}

uint64_t Outstanding::GiveUp(Handshake* handshake) {
  const uint64_t lost = handshake->session ? 0 : 1;
  Forget(handshake);
  return lost;
}

uint64_t Outstanding::GiveUpAll() {
  uint64_t lost = 0;
  for (; !deadlines_.empty(); deadlines_.pop()) {
    if (Handshake* handshake = Find(deadlines_.top().index)) lost += GiveUp(handshake);
  }
  return lost;
}

Outstanding::Handshake* Outstanding::TakeExpired(uint64_t now_ns) {
  while (!deadlines_.empty() && deadlines_.top().at_ns < now_ns) {
    const uint32_t index = deadlines_.top().index;
    deadlines_.pop();
    if (Handshake* handshake = Find(index)) return handshake;
  }
  return nullptr;
}

}  // namespace wicket::blast
