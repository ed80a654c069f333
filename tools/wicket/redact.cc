#include "tools/wicket/redact.h"

#include <algorithm>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace wicket::tools {
namespace {

constexpr size_t kBase64Bytes = 43;  // of 32 bytes, without padding
constexpr size_t kHexBytes = 64;
constexpr char kRemoved[] = "(removed)";

bool IsWordByte(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '+' || c == '/' || c == '-' ||
         c == '_';
}

bool IsHex(absl::string_view word) {
  return std::all_of(word.begin(), word.end(),
                     [](char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); });
}

std::string NameOf(absl::string_view key) {
  static auto* numbers = new std::map<std::string, size_t>;
  const size_t next = numbers->size() + 1;
  const size_t number = numbers->try_emplace(std::string(key), next).first->second;
  return absl::StrCat("key-", number);
}

// The runs of hexadecimal digits that are as long as a key, or longer.
std::string WithoutHex(absl::string_view word) {
  std::string out;
  while (!word.empty()) {
    size_t length = 0;
    while (length < word.size() && IsHex(word.substr(length, 1))) ++length;
    if (length >= kHexBytes) {
      absl::StrAppend(&out, NameOf(word.substr(0, length)));
    } else {
      length = std::min(length + 1, word.size());
      absl::StrAppend(&out, word.substr(0, length));
    }
    word.remove_prefix(length);
  }
  return out;
}

// A word of base64 may have slashes, and a path has them: so its parts are looked at too.
std::string WithoutKey(absl::string_view word) {
  if (word.size() == kBase64Bytes) return NameOf(word);
  if (absl::StrContains(word, '/')) {
    return absl::StrJoin(
        absl::StrSplit(word, '/'), "/",
        [](std::string* out, absl::string_view part) { absl::StrAppend(out, WithoutKey(part)); });
  }
  return WithoutHex(word);
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
    const std::string shown = WithoutKey(word);
    absl::StrAppend(&out, shown);
    if (shown != word && !line.empty() && line[0] == '=') line.remove_prefix(1);
  }
  return out;
}

// A value that begins at `value`: to the end of the quotes that were opened since `name`, or else
// up to a space, a quote or a comma.
void RemoveValue(std::string* line, size_t name, size_t value) {
  const size_t opened = line->find_last_of("\"'", value - 1);
  size_t end = line->size();
  if (opened == line->npos || opened < name) {
    end = std::min(line->find_first_of(" \t\",'", value), end);
  } else {
    for (size_t i = value; i < end; ++i) {
      if ((*line)[i] == '\\')
        ++i;
      else if ((*line)[i] == (*line)[opened])
        end = i;
    }
  }
  line->replace(value, end - value, kRemoved);
}

// "token = ...", "Authorization: Bearer ...", "password=...", wherever they are in the line. The
// name of a file is no secret.
std::string WithoutValues(std::string line) {
  for (const char* word : {"bearer ", "basic ", "whsec_", "token", "password", "passwd", "secret",
                           "private_key", "privatekey", "preshared"}) {
    const bool is_value = absl::EndsWith(word, " ") || absl::EndsWith(word, "_");
    for (size_t at = 0;;) {
      const std::string lower = absl::AsciiStrToLower(line);
      at = lower.find(word, at);
      if (at == lower.npos) break;
      size_t value = at + absl::string_view(word).size();
      at = value;
      if (!is_value) {
        value = lower.find_first_of("=:", value);
        if (value == lower.npos) break;
        if (absl::StrContains(lower.substr(at, value - at), "file")) continue;
        value = line.find_first_not_of(" =:\t\"'", value);
      }
      if (value >= line.size() || line.compare(value, sizeof(kRemoved) - 1, kRemoved) == 0)
        continue;
      RemoveValue(&line, at, value);
    }
  }
  return line;
}

// "https://user:password@host"
std::string WithoutUsers(std::string line) {
  for (size_t at = line.find("://"); at != line.npos; at = line.find("://", at)) {
    at += 3;
    const size_t end = std::min(line.find_first_of("/ \t\"'", at), line.size());
    const size_t user = line.rfind('@', end);
    if (user != line.npos && user >= at && user < end) line.replace(at, user - at, kRemoved);
  }
  return line;
}

}  // namespace

std::string Redact(absl::string_view text) {
  std::string out;
  bool in_pem = false;  // a private key that goes over lines
  while (!text.empty()) {
    const size_t end = text.find('\n');
    const absl::string_view line = text.substr(0, end);
    if (absl::StrContains(line, "-----BEGIN") && absl::StrContains(line, "PRIVATE KEY")) {
      in_pem = true;
      absl::StrAppend(&out, kRemoved);
    }
    if (!in_pem) absl::StrAppend(&out, WithoutUsers(WithoutValues(WithoutKeys(line))));
    if (absl::StrContains(line, "-----END")) in_pem = false;
    if (end == text.npos) break;
    out.push_back('\n');
    text.remove_prefix(end + 1);
  }
  return out;
}

}  // namespace wicket::tools
