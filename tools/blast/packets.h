// What a load is made of.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "noise/initiator.h"
#include "tools/blast/fleet.h"

namespace wicket::blast {

// X(name, text, what it is)
#define WICKET_BLAST_KINDS(X)                                                              \
  X(New, "new", "a handshake of a client that has not come before in this run")            \
  X(Cookie, "cookie", "the same, and answers a cookie reply at once")                      \
  X(Rekey, "rekey", "a handshake of a client that has a session")                          \
  X(Unknown, "unknown", "a handshake of a key that is nobody's peer")                      \
  X(Forged, "forged", "a peer's public key, without its private one: the timestamp fails") \
  X(BadMac1, "bad-mac1", "an initiation with a wrong mac1")                                \
  X(Junk, "junk", "random bytes, as long as an initiation")                                \
  X(Response, "response", "a response with a right mac1, which nobody asked for")          \
  X(Repeat, "repeat", "one and the same valid initiation, byte for byte")                  \
  X(Old, "old", "a peer's valid initiation with a timestamp a day old")                    \
  X(Data, "data", "a keepalive of a session")

enum class Kind : uint8_t {
#define WICKET_BLAST_ENUM(name, text, help) k##name,
  WICKET_BLAST_KINDS(WICKET_BLAST_ENUM)
#undef WICKET_BLAST_ENUM
      kMax
};
inline constexpr size_t kKinds = static_cast<size_t>(Kind::kMax);
const char* ToString(Kind kind);

// How often each kind comes: "new=9,junk=1".
class Mix {
 public:
  // Errors: InvalidArgument names the part that cannot be read.
  static absl::StatusOr<Mix> Parse(absl::string_view text);
  // `random`: uniform in 0..2^32-1.
  Kind Pick(uint32_t random) const;
  bool Has(Kind kind) const { return Weight(kind) > 0; }
  uint32_t Weight(Kind kind) const { return weights_[static_cast<size_t>(kind)]; }

 private:
  std::array<uint32_t, kKinds> weights_{};
  uint64_t total_ = 0;
};

// A packet ready to be sent, and what is needed to check the answer to it.
struct Packet {
  Kind kind = Kind::kMax;
  uint64_t client = 0;
  noise::PendingHandshake handshake;  // its message's first bytes are the response, of that kind

  std::span<const uint8_t> payload() const {
    return {reinterpret_cast<const uint8_t*>(&handshake.message),
            kind == Kind::kResponse ? sizeof(wire::Response) : sizeof(wire::Initiation)};
  }
};

struct PacketOrder {
  Kind kind = Kind::kMax;  // of kData and kMax nothing is made
  uint64_t client = 0;
  uint32_t sender_index = 0;
  absl::Time stamp;  // when the client says it is
};

// Makes handshakes with one endpoint. Thread: one.
class PacketMaker {
 public:
  PacketMaker(const Fleet* fleet, const PublicKey& target, uint64_t seed);

  // A packet of the kind. Strangers and forgers do as an attacker would: a handshake serves
  // them for 256 packets, which differ in their sender's index and so in mac1.
  // Cost: about 120 us for those that need a handshake, 1 us for the others.
  Packet Make(const PacketOrder& order);
  // The same for each; a client's handshakes side by side, for about 30 us each where the CPU has
  // the lanes.
  // Requires: spans of one size.
  void Make(std::span<const PacketOrder> orders, std::span<Packet> packets);
  uint64_t Random();

 private:
  struct Reused {
    std::optional<noise::PendingHandshake> handshake;
    uint32_t left = 0;
  };
  // Another packet of what was made before. Returns: false when something new is to be made.
  bool Reuse(Reused* reused, uint32_t sender_index, Packet* packet);
  noise::PendingHandshake Forge(uint64_t client, uint32_t sender_index);

  const Fleet* fleet_;
  PublicKey target_;
  const crypto::X25519Backend backend_ = crypto::FastestX25519();
  uint64_t random_[2];
  uint64_t strangers_ = 0;
  crypto::Hash mac1_key_;
  Reused stranger_, forger_;
  std::optional<noise::PendingHandshake> repeated_;
};

}  // namespace wicket::blast
