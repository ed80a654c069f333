// The responder's part of the handshake for many initiations at once.
//
//   -> e, es, s, ss, {t}
//      `--- OpenStatics   of all
//                `--- OpenTimestamps   of those whose claim is worth it
//
// Multiplications go through the lanes of X25519Batch(), hashes through those
// of eight symmetric states. What comes out is what OpenStatic() and
// OpenTimestamp() of responder.h say of each message alone.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "base/tai64n.h"
#include "crypto/x25519_batch.h"
#include "noise/identity.h"
#include "noise/symmetric_lanes.h"
#include "wire/messages.h"

namespace wicket::noise {

// Thread:  one.
// Secrets: wiped by OpenTimestamps(), which ends every batch.
// Cost:    no allocation after construction; BM_ProveBatch.
class ResponderBatch {
 public:
  static constexpr size_t kMessagesMax = 64;
  static constexpr size_t kLanes = SymmetricLanes::kLanes;  // in one go
  using Messages = std::span<const wire::Initiation* const>;

  explicit ResponderBatch(crypto::X25519Backend backend) : backend_(backend) {}

  // Runs e, es and s.
  // Requires: at most kMessagesMax messages, whose mac1 has been checked, and
  //           which stay where they are until OpenTimestamps() returns.
  void OpenStatics(const Identity& self, Messages messages);
  // The key that message i claims, or null where OpenStatic() returns nullopt.
  const PublicKey* claim(size_t i) const { return opened_[i] ? &claims_[i] : nullptr; }

  // Runs ss and t where wanted[i], which needs a claim.
  void OpenTimestamps(const Identity& self, std::span<const bool> wanted);
  // The stamp of message i, or null where it was not wanted or is not proven.
  const Tai64n* timestamp(size_t i) const { return proven_[i] ? &timestamps_[i] : nullptr; }

 private:
  static constexpr size_t kGroups = kMessagesMax / kLanes;

  size_t groups() const { return (messages_.size() + kLanes - 1) / kLanes; }
  // Message `lane` of a group; the lanes of the last one that are left over repeat its first.
  size_t IndexOf(size_t group, size_t lane) const {
    const size_t i = group * kLanes + lane;
    return i < messages_.size() ? i : group * kLanes;
  }

  crypto::X25519Backend backend_;
  std::array<const wire::Initiation*, kMessagesMax> stored_messages_;
  Messages messages_;
  std::array<SymmetricLanes, kGroups> states_;
  std::array<Secret<kKeyBytes>, kMessagesMax> shared_;
  std::array<PublicKey, kMessagesMax> claims_;
  std::array<Tai64n, kMessagesMax> timestamps_;
  std::array<bool, kMessagesMax> opened_, proven_;
};

}  // namespace wicket::noise
