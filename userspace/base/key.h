// Curve25519 public keys in the form that WireGuard shows.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include "absl/strings/string_view.h"

#include "base/secret.h"

namespace wicket {

inline constexpr size_t kKeyBytes = 32;

// A peer's or a device's public key: 32 bytes, little-endian u-coordinate.
struct PublicKey {
  std::array<uint8_t, kKeyBytes> bytes{};

  friend auto operator<=>(const PublicKey&, const PublicKey&) = default;

  template <typename H>
  friend H AbslHashValue(H h, const PublicKey& key) {
    return H::combine(std::move(h), key.bytes);
  }
};

// The 44 characters that `wg` prints for a key.
std::string ToBase64(const PublicKey& key);

// The first 8 characters and an ellipsis: how logs and errors name a peer.
std::string Abbreviate(const PublicKey& key);

// Reads 44 base64 characters.
// Returns: nullopt unless the text is the one canonical encoding of 32 bytes.
std::optional<PublicKey> ParsePublicKey(absl::string_view base64);

// Reads a private or preshared key by the same rules.
// Secrets: no copy of the decoded bytes is left behind.
std::optional<Secret<kKeyBytes>> ParseSecretKey(absl::string_view base64);

// The 44 characters of a secret, for files and answers whose purpose is to carry it. Never for
// logs.
// Secrets: the string is not wiped.
std::string RevealBase64(const Secret<kKeyBytes>& key);

}  // namespace wicket
