#include "hook/secret.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "crypto/curve25519.h"

namespace wicket::hook {
namespace {

constexpr char kPrefix[] = "whsec_";
constexpr size_t kBytesMin = 24, kBytesMax = 64, kBytesMade = 32;

}  // namespace

SigningSecret::SigningSecret(SigningSecret&& other) noexcept : bytes_(other.bytes_) {
  explicit_bzero(other.bytes_.data(), other.bytes_.size());
}

SigningSecret::~SigningSecret() { explicit_bzero(bytes_.data(), bytes_.size()); }

absl::StatusOr<SigningSecret> SigningSecret::Parse(absl::string_view text) {
  absl::string_view base64 = absl::StripAsciiWhitespace(text);
  std::string bytes;
  if (!absl::ConsumePrefix(&base64, kPrefix) || !absl::Base64Unescape(base64, &bytes) ||
      bytes.size() < kBytesMin || bytes.size() > kBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("not a secret; accepted: whsec_ and base64 of ",
                                                   kBytesMin, " to ", kBytesMax, " bytes"));
  }
  return SigningSecret(std::move(bytes));
}

absl::StatusOr<SigningSecret> SigningSecret::Load(const std::string& path) {
  std::ifstream file(path);
  struct stat info;
  if (!file || stat(path.c_str(), &info) != 0) {
    return ErrnoStatus(errno, absl::StrCat("secret_file: open(", path, ")"));
  }
  if ((info.st_mode & 0007) != 0) {
    return absl::FailedPreconditionError(absl::StrCat(
        "secret_file: ", path, ": others may read or write it; chmod 0640 mends that"));
  }
  std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto wipe = absl::MakeCleanup([&] { explicit_bzero(text.data(), text.size()); });
  auto secret = Parse(text);
  if (secret.ok()) return secret;
  return absl::InvalidArgumentError(
      absl::StrCat("secret_file: ", path, ": ", secret.status().message()));
}

std::string SigningSecret::Make() {
  std::string bytes(kBytesMade, '\0');
  crypto::FillRandom(reinterpret_cast<uint8_t*>(bytes.data()), bytes.size());
  std::string text = absl::StrCat(kPrefix, absl::Base64Escape(bytes));
  explicit_bzero(bytes.data(), bytes.size());
  return text;
}

std::string SigningSecret::Sign(absl::string_view id, int64_t unix_seconds,
                                absl::string_view body) const {
  const std::string signed_text = absl::StrCat(id, ".", unix_seconds, ".", body);
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned bytes = 0;
  HMAC(EVP_sha256(), bytes_.data(), static_cast<int>(bytes_.size()),
       reinterpret_cast<const unsigned char*>(signed_text.data()), signed_text.size(), digest,
       &bytes);
  return absl::StrCat(
      "v1,", absl::Base64Escape(absl::string_view(reinterpret_cast<const char*>(digest), bytes)));
}

}  // namespace wicket::hook
