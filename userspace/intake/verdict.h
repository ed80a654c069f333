// Every way in which an initiation can leave a shard.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace wicket::intake {

// X(Name, text, meaning), nearly in the order of the checks. A frame counts once, but CookieLost
// besides its Cookie. OverBudget is also a sender that was to be asked for a cookie, where the rate
// of replies was spent or its address cannot be answered.
#define WICKET_VERDICTS(X)                                                            \
  X(NotAnInitiation, "not_an_initiation", "the program steered something else")       \
  X(PortNotServed, "port_not_served", "no device of ours listens there")              \
  X(BadMac1, "bad_mac1", "made for another public key, or forged")                    \
  X(Repeat, "repeat", "the same packet again")                                        \
  X(Cookie, "cookie", "under load: answered with a cookie")                           \
  X(CookieLost, "cookie_lost", "under load: no room to send a cookie")                \
  X(OverBudget, "over_budget", "more handshakes a second than the device may prove")  \
  X(BadStatic, "bad_static", "the static key does not decrypt")                       \
  X(UnknownPeer, "unknown_peer", "the claimed key is not stored for this device")     \
  X(Expired, "expired", "the peer has expired")                                       \
  X(DamagedRecord, "damaged_record", "the peer's record cannot be read")              \
  X(NotProven, "not_proven", "the sender does not hold the key it claims")            \
  X(Replay, "replay", "the timestamp is not newer than the last one")                 \
  X(StoreUnreadable, "store_unreadable", "the store cannot be read; the rest passes") \
  X(InstallerBusy, "installer_busy", "proven, but the installer's queue is full")     \
  X(Proven, "proven", "handed to the installer")

enum class Verdict : uint8_t {
#define WICKET_VERDICT_ENUM(name, text, help) k##name,
  WICKET_VERDICTS(WICKET_VERDICT_ENUM)
#undef WICKET_VERDICT_ENUM
};

#define WICKET_VERDICT_COUNT(name, text, help) +1
inline constexpr size_t kVerdicts = 0 WICKET_VERDICTS(WICKET_VERDICT_COUNT);
#undef WICKET_VERDICT_COUNT

const char* ToString(Verdict verdict);

// Thread: one writer; any reader.
class VerdictCounters {
 public:
  void Count(Verdict verdict) { Add(verdict, 1); }
  void Add(Verdict verdict, uint64_t n) {
    auto& counter = counters_[static_cast<size_t>(verdict)];
    counter.store(counter.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  uint64_t Read(Verdict verdict) const {
    return counters_[static_cast<size_t>(verdict)].load(std::memory_order_relaxed);
  }

 private:
  std::array<std::atomic<uint64_t>, kVerdicts> counters_{};
};

}  // namespace wicket::intake
