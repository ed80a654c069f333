#include "edge/tokens.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <sys/stat.h>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/config_section.h"

namespace wicket::edge {
namespace {

constexpr size_t kTokenBytes = 32;
constexpr char kAccepted[] = "NAME ROLE SHA256, such as wicket-edge --new-token prints";

absl::Status Bad(const std::string& name, int line, absl::string_view found) {
  return absl::InvalidArgumentError(
      absl::StrCat(name, ":", line, ": found ", found, "; accepted: ", kAccepted));
}

}  // namespace

Tokens::Digest Tokens::DigestOf(absl::string_view token) {
  Digest digest{};
  EVP_Digest(token.data(), token.size(), digest.data(), nullptr, EVP_sha256(), nullptr);
  return digest;
}

absl::StatusOr<Tokens> Tokens::Load(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && (info.st_mode & 027) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("tokens: ", path, ": others can read it, or its group write it (chmod 640)"));
  }
  WICKET_ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
  return Parse(text, path);
}

absl::StatusOr<Tokens> Tokens::Parse(absl::string_view text, const std::string& name) {
  Tokens tokens;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    const std::vector<std::string> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty() || absl::StartsWith(words[0], "#")) continue;
    if (words.size() != 3) return Bad(name, number, absl::StrCat(words.size(), " words"));
    const auto role = http::ParseRole(words[1]);
    if (!role) return Bad(name, number, absl::StrCat("the role \"", words[1], "\""));
    Entry entry{.digest = {}, .role = *role};
    const std::string digest = absl::HexStringToBytes(words[2]);
    if (words[2].size() != 2 * entry.digest.size() || absl::BytesToHexString(digest) != words[2]) {
      return Bad(name, number, "a third word that is no SHA-256 in hexadecimal");
    }
    std::copy(digest.begin(), digest.end(), entry.digest.begin());
    tokens.entries_.push_back(entry);
  }
  return tokens;
}

http::Role Tokens::Find(absl::string_view token) const {
  const Digest digest = DigestOf(token);
  http::Role role = http::Role::kNone;
  for (const Entry& entry : entries_) {
    const bool same = CRYPTO_memcmp(digest.data(), entry.digest.data(), digest.size()) == 0;
    if (same) role = entry.role;
  }
  return role;
}

http::Role Tokens::FindBearer(absl::string_view authorization) const {
  constexpr absl::string_view kScheme = "Bearer ";
  if (!absl::StartsWithIgnoreCase(authorization, kScheme)) return http::Role::kNone;
  return Find(authorization.substr(kScheme.size()));
}

absl::StatusOr<std::pair<std::string, std::string>> MakeToken(absl::string_view name,
                                                              absl::string_view role) {
  if (name.empty() || name.find_first_of(" \t\r\n#") != name.npos) {
    return absl::InvalidArgumentError("a token's name is one word without #");
  }
  if (!http::ParseRole(role)) {
    return absl::InvalidArgumentError(
        absl::StrCat("found the role \"", role, "\"; accepted: metrics, read, write"));
  }
  uint8_t bytes[kTokenBytes];
  if (RAND_bytes(bytes, sizeof(bytes)) != 1) return absl::InternalError("RAND_bytes()");
  const std::string token =
      absl::WebSafeBase64Escape({reinterpret_cast<const char*>(bytes), sizeof(bytes)});
  const Tokens::Digest digest = Tokens::DigestOf(token);
  return std::pair(token,
                   absl::StrCat(name, " ", role, " ",
                                absl::BytesToHexString(absl::string_view(
                                    reinterpret_cast<const char*>(digest.data()), digest.size()))));
}

}  // namespace wicket::edge
