#include "base/config_section.h"

#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

#include "absl/strings/str_join.h"

namespace wicket {
namespace {

std::string Found(const toml::node& node) {
  std::ostringstream text;
  if (node.is_table()) return "a table";
  if (node.is_array()) return "an array";
  text << toml::node_view<const toml::node>(&node);
  return text.str();
}

uint32_t LineOf(const toml::node& node) { return node.source().begin.line; }

}  // namespace

absl::StatusOr<std::string> ReadConfigFile(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return ErrnoStatus(EISDIR, absl::StrCat("read(", path, ")"));
  }
  errno = 0;
  std::ifstream file(path);
  std::string text;
  char piece[4096];
  // Of iterators and operator<< a failed read would be thrown, or lost.
  while (file.read(piece, sizeof(piece)) || file.gcount() > 0) {
    text.append(piece, static_cast<size_t>(file.gcount()));
  }
  if (file.is_open() && !file.bad()) return text;
  return ErrnoStatus(errno ? errno : EIO, absl::StrCat("read(", path, ")"));
}

std::string FolderOfFiles(const std::string& path) {
  const char* credentials = getenv("CREDENTIALS_DIRECTORY");
  return credentials ? credentials : std::filesystem::path(path).parent_path().string();
}

absl::StatusOr<toml::table> ParseToml(absl::string_view text, const std::string& name) {
  toml::parse_result parsed = toml::parse(std::string_view(text.data(), text.size()), name);
  if (parsed) return std::move(parsed).table();
  return absl::InvalidArgumentError(absl::StrCat(name, ":", parsed.error().source().begin.line,
                                                 ": ", std::string(parsed.error().description()),
                                                 "; accepted: TOML"));
}

void KeyReference::Add(absl::string_view table, absl::string_view key, absl::string_view fallback,
                       const KeyDoc& doc) {
  absl::StrAppend(&text_, table, "\t", key, "\t", doc.otherwise ? doc.otherwise : fallback, "\t",
                  doc.reloads ? "reloads" : "", "\t", doc.meaning, "\n");
}

void Problems::Note(uint32_t line, absl::string_view text) {
  notes_.push_back(absl::StrCat(file_, ":", line, ": ", text));
}

void Problems::Add(uint32_t line, absl::string_view key, absl::string_view found,
                   absl::string_view accepted) {
  problems_.push_back({line, absl::StrCat(file_, ":", line, ": ", key, ": found ", found,
                                          "; accepted: ", accepted)});
}

absl::Status Problems::ToStatus() const {
  if (problems_.empty()) return absl::OkStatus();
  std::vector<Problem> sorted = problems_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Problem& a, const Problem& b) { return a.line < b.line; });
  return absl::InvalidArgumentError(absl::StrJoin(
      sorted, "\n", [](std::string* out, const Problem& problem) { *out += problem.text; }));
}

Section::~Section() {
  for (const auto& [key, node] : table_) {
    if (known_.count(std::string(key.str()))) continue;
    AddProblem(key.source().begin.line, {key.str().data(), key.str().size()}, "an unknown key",
               absl::StrJoin(known_, ", "));
  }
}

void Section::Text(const char* key, std::string* out, const KeyDoc& doc) {
  const toml::node* node = Take(key, Quoted(*out), doc);
  if (node == nullptr) return;
  const auto value = node->value_exact<std::string>();
  if (!value || value->empty()) return AddProblem(*node, key, "a string that is not empty");
  *out = *value;
}

void Section::Flag(const char* key, bool* out, const KeyDoc& doc) {
  const toml::node* node = Take(key, *out ? "true" : "false", doc);
  if (node == nullptr) return;
  const auto value = node->value_exact<bool>();
  if (!value) return AddProblem(*node, key, "true or false");
  *out = *value;
}

void Section::Number(const char* key, uint64_t least, uint64_t most, absl::string_view unit,
                     uint64_t* out, const KeyDoc& doc) {
  const toml::node* node = Take(key, absl::StrCat(*out), doc);
  if (node == nullptr) return;
  const auto value = node->value_exact<int64_t>();
  if (!value || *value < 0 || static_cast<uint64_t>(*value) < least ||
      static_cast<uint64_t>(*value) > most) {
    return AddProblem(*node, key, absl::StrCat(least, " to ", most, unit));
  }
  *out = static_cast<uint64_t>(*value);
}

void Section::Seconds(const char* key, absl::Duration least, absl::Duration most,
                      absl::string_view unit, absl::Duration* out, const KeyDoc& doc) {
  auto seconds = static_cast<uint64_t>(absl::ToInt64Seconds(*out));
  Number(key, static_cast<uint64_t>(absl::ToInt64Seconds(least)),
         static_cast<uint64_t>(absl::ToInt64Seconds(most)), unit, &seconds, doc);
  *out = absl::Seconds(static_cast<int64_t>(seconds));
}

void Section::Note(const char* key, absl::string_view text) {
  const toml::node* node = Take(key);
  if (node != nullptr) problems_->Note(LineOf(*node), text);
}

void Section::AddProblem(absl::string_view key, absl::string_view found,
                         absl::string_view accepted) {
  AddProblem(LineOf(table_), key, found, accepted);
}

void Section::AddProblemAtKey(absl::string_view key, absl::string_view found,
                              absl::string_view accepted) {
  const toml::node* node = table_.get(std::string_view(key.data(), key.size()));
  AddProblem(LineOf(node == nullptr ? table_ : *node), key, found, accepted);
}

void Section::AddProblem(const toml::node& node, absl::string_view key,
                         absl::string_view accepted) {
  AddProblem(LineOf(node), key, Found(node), accepted);
}

void Section::AddProblem(uint32_t line, absl::string_view key, absl::string_view found,
                         absl::string_view accepted) {
  problems_->Add(line, absl::StrCat(name_, name_.empty() ? "" : ".", key), found, accepted);
}

void Section::Describe(const char* key, absl::string_view fallback, const KeyDoc& doc) {
  if (problems_->reference() != nullptr) problems_->reference()->Add(name_, key, fallback, doc);
}

const toml::node* Section::Take(const char* key) {
  known_.insert(key);
  return table_.get(key);
}

std::vector<const toml::node*> Section::Items(const char* key, absl::string_view accepted) {
  std::vector<const toml::node*> items;
  const toml::node* node = Take(key);
  if (node == nullptr) return items;
  const toml::array* array = node->as_array();
  if (array == nullptr) {
    AddProblem(*node, key, accepted);
    return items;
  }
  for (const toml::node& item : *array) items.push_back(&item);
  return items;
}

}  // namespace wicket
