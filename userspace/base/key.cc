#include "base/key.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace wicket {
namespace {

constexpr size_t kBase64Chars = 44;

int SixBits(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+') return 62;
  if (c == '/') return 63;
  return -1;
}

// absl::Base64Unescape skips white space, makes padding optional and goes through a std::string
// that is not wiped. A key has one encoding of one length.
bool Decode(absl::string_view text, uint8_t* out) {
  if (text.size() != kBase64Chars || text[kBase64Chars - 1] != '=') return false;
  uint32_t bits = 0;
  int bit_count = 0;
  size_t written = 0;
  for (size_t i = 0; i + 1 < kBase64Chars; ++i) {
    const int six = SixBits(text[i]);
    if (six < 0) return false;
    bits = (bits << 6) | static_cast<uint32_t>(six);
    bit_count += 6;
    if (bit_count >= 8) {
      bit_count -= 8;
      out[written++] = static_cast<uint8_t>(bits >> bit_count);
      bits &= (1u << bit_count) - 1;
    }
  }
  return written == kKeyBytes && bits == 0;
}

std::string Encode(const uint8_t* bytes) {
  return absl::Base64Escape(absl::string_view(reinterpret_cast<const char*>(bytes), kKeyBytes));
}

}  // namespace

std::string ToBase64(const PublicKey& key) { return Encode(key.bytes.data()); }

std::string Abbreviate(const PublicKey& key) {
  return absl::StrCat(ToBase64(key).substr(0, 8), "…");
}

std::optional<PublicKey> ParsePublicKey(absl::string_view base64) {
  PublicKey key;
  if (!Decode(base64, key.bytes.data())) return std::nullopt;
  return key;
}

std::optional<Secret<kKeyBytes>> ParseSecretKey(absl::string_view base64) {
  Secret<kKeyBytes> key;
  if (!Decode(base64, key.data())) return std::nullopt;
  return key;
}

std::string RevealBase64(const Secret<kKeyBytes>& key) { return Encode(key.data()); }

}  // namespace wicket
