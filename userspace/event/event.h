// Something that happened to a peer or to the gateway.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "base/address.h"
#include "base/key.h"

namespace wicket::event {

// X(Name, text, meaning)
#define WICKET_EVENTS(X)                                                                      \
  X(Seen, "seen", "an initiation proved its key and went to the installer")                   \
  X(Refused, "refused", "an initiation was refused for `reason`; a sample of a flood")        \
  X(Installed, "installed", "a peer was put into its device")                                 \
  X(Confirmed, "confirmed", "the first data packet of a session arrived")                     \
  X(Evicted, "evicted", "a peer was removed from its device")                                 \
  X(Expired, "expired", "a peer expired and was deleted")                                     \
  X(OverQuota, "over_quota", "a peer used up the bytes of its period, and leaves its device") \
  X(Created, "created", "a peer was stored")                                                  \
  X(Updated, "updated", "a stored peer was changed")                                          \
  X(Deleted, "deleted", "a peer was deleted")                                                 \
  X(Attack, "attack",                                                                         \
    "initiations are refused at a high rate, or a shard is under load; every 10 s")           \
  X(AttackOver, "attack_over", "neither for 10 s")                                            \
  X(ClockStep, "clock_step",                                                                  \
    "the wall clock stepped against the steady clock; figures.seconds says how far")

enum class Kind : uint8_t {
#define WICKET_EVENT_ENUM(name, text, help) k##name,
  WICKET_EVENTS(WICKET_EVENT_ENUM)
#undef WICKET_EVENT_ENUM
};
const char* ToString(Kind kind);

struct Event {
  Kind kind = Kind::kSeen;
  absl::Time at;
  std::string device;
  std::optional<PublicKey> peer;  // of the store or a device, or a sender that proved this key
  Endpoint source;                // family kNone: none
  const char* reason = "";        // static storage
  // Of an attack: sources, proven_per_s, install_p99_ms, and refusals a second by reason.
  // Of a clock step: seconds, positive for forwards.
  std::map<std::string, double> figures = {};
};

}  // namespace wicket::event
