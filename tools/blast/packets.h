// The packets that a load is made of.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "noise/initiator.h"
#include "tools/blast/fleet.h"
#include "tools/blast/random.h"

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
      kMax  // the number of kinds
};
inline constexpr size_t kKinds = static_cast<size_t>(Kind::kMax);
const char* ToString(Kind kind);

// Whether the endpoint answers: the sender has proven its key.
constexpr bool WantsAnswer(Kind kind) {
  return kind == Kind::kNew || kind == Kind::kRekey || kind == Kind::kCookie;
}

// How often each kind comes: "new=9,junk=1".
class Mix {
 public:
  // Errors: InvalidArgument names the part that cannot be read, or says that all weights are 0.
  static absl::StatusOr<Mix> Parse(absl::string_view text);
  // `random`: uniform in 0..2^32-1. Requires: a mix that Parse() made.
  Kind Pick(uint32_t random) const;
  bool Has(Kind kind) const { return Weight(kind) > 0; }
  uint32_t Weight(Kind kind) const { return weights_[static_cast<size_t>(kind)]; }

 private:
  std::array<uint32_t, kKinds> weights_{};
  uint64_t total_ = 0;
};

// A packet that is ready to be sent, with the handshake state that opens the answer.
//
// kResponse: the first bytes of handshake.message are a wire::Response.
// kData: only kind and client are set. The client's session seals the bytes when they are sent.
struct Packet {
  Kind kind;
  uint64_t client = 0;
  noise::PendingHandshake handshake;

  // The bytes to send. Requires: the kind is not kData.
  std::span<const uint8_t> payload() const {
    return {reinterpret_cast<const uint8_t*>(&handshake.message),
            kind == Kind::kResponse ? sizeof(wire::Response) : sizeof(wire::Initiation)};
  }
};

struct PacketOrder {
  Kind kind;
  uint64_t client = 0;
  uint32_t sender_index = 0;
  absl::Time stamp;  // the time of the handshake's timestamp; kOld: a day before it is used
};

// Makes packets for one endpoint. Thread: one.
class PacketMaker {
 public:
  // `fleet` and `random` must outlive the maker.
  PacketMaker(const Fleet* fleet, const PublicKey& target, Random* random);

  // A packet of the order's kind. For kUnknown and kForged one handshake serves for 256 packets, as
  // an attacker would do it. Those packets differ in the sender index, and so in mac1.
  //
  // Returns: nullopt for a valid initiation (kNew, kCookie, kRekey, kUnknown, kRepeat, kOld) when
  //          the target's key is a low-order point: no handshake with such a key is possible.
  // Cost:    about 120 us for a new handshake, 1 us for everything else.
  std::optional<Packet> Make(const PacketOrder& order);
  // packets[i] is what Make(orders[i]) returns, and nullopt where there is no order. The clients'
  // handshakes are computed side by side.
  //
  // Requires: spans of one size; `packets` holds nothing yet.
  // Cost:     about 30 us for each handshake where the CPU has the vector lanes.
  void Make(std::span<const std::optional<PacketOrder>> orders,
            std::span<std::optional<Packet>> packets);

 private:
  struct Reused {
    std::optional<noise::PendingHandshake> handshake;
    uint32_t left = 0;  // packets that may still be made of it
  };
  // Makes another packet of the last handshake.
  // Returns: false when that handshake is used up, and a new one must be made.
  bool Reuse(Reused* reused, uint32_t sender_index, Packet* packet);
  void FillWithRandom(const PacketOrder& order, wire::Initiation* message);
  void FillWithResponse(uint32_t sender_index, wire::Initiation* message);
  noise::PendingHandshake Forge(uint64_t client, uint32_t sender_index);

  const Fleet* fleet_;
  PublicKey target_;
  Random* random_;
  const crypto::X25519Backend backend_ = crypto::FastestX25519();
  uint64_t strangers_ = 0;
  crypto::Hash mac1_key_;
  Reused stranger_, forger_;
  std::optional<noise::PendingHandshake> repeated_;
};

}  // namespace wicket::blast
