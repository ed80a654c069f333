#include "tools/wicket/redact.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace wicket::tools {
namespace {

constexpr size_t kBase64Bytes = 43;  // of 32 bytes, without padding
constexpr size_t kHexBytes = 64;

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '/' || c == '-' ||
         c == '_';
}

bool IsHex(absl::string_view word) {
  return std::all_of(word.begin(), word.end(),
                     [](char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); });
}

// A path has slashes too, but no base64 word of exactly that length is likely to be one.
bool MayBeKey(absl::string_view word) {
  return word.size() == kBase64Bytes || (word.size() == kHexBytes && IsHex(word));
}

std::string NameOf(absl::string_view key) {
  static auto* numbers = new std::map<std::string, size_t>;
  const size_t next = numbers->size() + 1;
  const size_t number = numbers->try_emplace(std::string(key), next).first->second;
  return absl::StrCat("key-", number);
}

std::string WithoutKeys(absl::string_view line) {
  std::string out;
  while (!line.empty()) {
    size_t length = 0;
    while (length < line.size() && IsWordByte(line[length])) ++length;
    if (length == 0) {
      out.push_back(line[0]);
      line.remove_prefix(1);
      continue;
    }
    const absl::string_view word = line.substr(0, length);
    line.remove_prefix(length);
    if (!MayBeKey(word)) {
      absl::StrAppend(&out, word);
      continue;
    }
    absl::StrAppend(&out, NameOf(word));
    if (word.size() == kBase64Bytes && !line.empty() && line[0] == '=') line.remove_prefix(1);
  }
  return out;
}

// "token = ...", "Authorization: Bearer ...", "password=...". The name of a file is no secret.
std::string WithoutValues(std::string line) {
  const std::string lower = absl::AsciiStrToLower(line);
  for (const char* word : {"bearer ", "token", "password", "passwd", "secret", "private_key",
                           "privatekey", "preshared"}) {
    const size_t at = lower.find(word);
    if (at == lower.npos) continue;
    size_t value = at + absl::string_view(word).size();
    if (!absl::EndsWith(word, " ")) {
      value = lower.find_first_of("=:", value);
      const bool names_a_file = absl::StrContains(lower.substr(at, value - at), "file");
      if (value == lower.npos || names_a_file) continue;
      value = line.find_first_not_of(" =:\t\"", value);
    }
    if (value == line.npos || value >= line.size()) continue;
    size_t end = line.find_first_of(" \t\",", value);
    if (end == line.npos) end = line.size();
    line.replace(value, end - value, "(removed)");
    break;
  }
  return line;
}

}  // namespace

std::string Redact(absl::string_view text) {
  std::string out;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const absl::string_view line = text.substr(0, end);
    absl::StrAppend(&out, WithoutValues(WithoutKeys(line)));
    if (end == text.npos) break;
    out.push_back('\n');
    text.remove_prefix(end + 1);
  }
  return out;
}

}  // namespace wicket::tools
