// The responder's side of the handshake for many initiations at once.
//
//   -> e, es, s, ss, {t}
//      `--- OpenStatics   for all
//                `--- OpenTimestamps   for claims that are worth the second multiplication
//
// Multiplications share the lanes of X25519Batch(), and hashes those of SymmetricLanes. The result
// for each message is that of OpenStatic() and OpenTimestamp() in responder.h.
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
// Cost:    no allocation after construction; BM_PipelineBatchProven.
class ResponderBatch {
 public:
  static constexpr size_t kMessagesMax = 64;
  static constexpr size_t kLanes = SymmetricLanes::kLanes;  // in one set
  using Messages = std::span<const wire::Initiation* const>;

  // Requires: RunsHere(backend).
  explicit ResponderBatch(crypto::X25519Backend backend) : backend_(backend) {}

  // Runs e, es and s.
  // Requires: at most kMessagesMax messages with a verified mac1, which do not move or change
  //           until OpenTimestamps() returns.
  void OpenStatics(const Identity& self, Messages messages);
  // The key that message i claims, or null where OpenStatic() returns nullopt.
  const PublicKey* claim(size_t i) const { return opened_[i] ? &claims_[i] : nullptr; }

  // Runs ss and t where wanted[i] is true, and ends the batch.
  // Requires: the `self` of OpenStatics(); wanted[i] for each message, true only with a claim(i).
  void OpenTimestamps(const Identity& self, std::span<const bool> wanted);
  // The timestamp of message i, or null where it was not wanted or not proven.
  const Tai64n* timestamp(size_t i) const { return proven_[i] ? &timestamps_[i] : nullptr; }

 private:
  static constexpr size_t kGroups = kMessagesMax / kLanes;

  size_t groups() const { return (messages_.size() + kLanes - 1) / kLanes; }
  // The message in `lane` of a group. Unused lanes of the last group repeat its first message.
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
