// A configuration file, and a reader of one of its tables that collects every problem.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "base/toml.h"

namespace wicket {

// Reads a configuration file.
// Errors: NotFound and others when the file cannot be read.
absl::StatusOr<std::string> ReadConfigFile(const std::string& path);
// Where files are that the configuration at `path` names by a relative path: systemd's
// $CREDENTIALS_DIRECTORY, or, without one, the folder of the configuration.
std::string FolderOfFiles(const std::string& path);
// Errors: InvalidArgument: "NAME:LINE: PROBLEM; accepted: TOML".
absl::StatusOr<toml::table> ParseToml(absl::string_view text, const std::string& name);

// What documentation says of a key.
struct KeyDoc {
  const char* meaning = "";
  const char* otherwise = nullptr;  // what holds without the key; null: the default that is read
  bool reloads = false;             // it is taken over by a reload
};

// The keys that a program reads, in order. A configuration is read from an empty file to get them,
// so they are those that the reader knows, with the defaults that it has.
class KeyReference {
 public:
  void Add(absl::string_view table, absl::string_view key, absl::string_view fallback,
           const KeyDoc& doc);
  // A line for each key: table, key, default, "reloads" or nothing, meaning; tabs between.
  const std::string& text() const { return text_; }

 private:
  std::string text_;
};

// What is wrong with a file.
class Problems {
 public:
  // `reference`: gets the keys that are read; or null. With it, Table() and Tables() read one empty
  // table each, whatever the file holds.
  explicit Problems(std::string file, KeyReference* reference = nullptr)
      : file_(std::move(file)), reference_(reference) {}

  KeyReference* reference() const { return reference_; }

  // "FILE:LINE: KEY: found FOUND; accepted: ACCEPTED".
  void Add(uint32_t line, absl::string_view key, absl::string_view found,
           absl::string_view accepted);
  // Errors: InvalidArgument holds a line for each problem, in the order of the file.
  absl::Status ToStatus() const;
  // What is no error: "FILE:LINE: TEXT".
  void Note(uint32_t line, absl::string_view text);
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  struct Problem {
    uint32_t line;
    std::string text;
  };

  std::string file_;
  KeyReference* reference_;
  std::vector<Problem> problems_;
  std::vector<std::string> notes_;
};

// A text that a key may have, and what it means.
template <typename T>
struct Choice {
  const char* text;
  T value;
};

// One table of the file. Each reader takes a key: it sets `*out`, leaves it when the key is not
// there, or adds a problem. The destructor adds one for each key that no reader took.
//
// Lifetime: within that of the table and of the problems.
class Section {
 public:
  // `name`: what comes before the keys in a problem; empty for the file's own keys.
  Section(const toml::table& table, std::string name, Problems* problems)
      : table_(table), name_(std::move(name)), problems_(problems) {}
  Section(const Section&) = delete;
  ~Section();

  // A string that is not empty.
  void Text(const char* key, std::string* out, const KeyDoc& doc = {});
  void Flag(const char* key, bool* out, const KeyDoc& doc = {});
  // `unit` follows the limits in a problem's text, such as " bytes".
  void Number(const char* key, uint64_t least, uint64_t most, absl::string_view unit, uint64_t* out,
              const KeyDoc& doc = {});
  // An integer. Requires: all durations are whole seconds; `*out` is cut to them in any case.
  void Seconds(const char* key, absl::Duration least, absl::Duration most, absl::string_view unit,
               absl::Duration* out, const KeyDoc& doc = {});

  template <typename T, size_t N>
  void OneOf(const char* key, const Choice<T> (&choices)[N], T* out, const KeyDoc& doc = {}) {
    std::string fallback;
    for (const auto& choice : choices) {
      if (choice.value == *out) fallback = Quoted(choice.text);
    }
    const toml::node* node = Take(key, fallback, doc);
    if (node == nullptr) return;
    const auto value = node->value_exact<std::string>();
    std::string accepted;
    for (const auto& choice : choices) {
      if (value && *value == choice.text) {
        *out = choice.value;
        return;
      }
      absl::StrAppend(&accepted, accepted.empty() ? "" : ", ", Quoted(choice.text));
    }
    AddProblem(*node, key, accepted);
  }

  // Calls `read` with every table of the array `key`.
  template <typename Read>
  void Tables(const char* key, Read read) {
    if (problems_->reference() != nullptr) return read(toml::table{});
    const std::string accepted = absl::StrCat("[[", key, "]] tables");
    for (const toml::node* item : Items(key, accepted)) {
      if (const toml::table* table = item->as_table()) {
        read(*table);
      } else {
        AddProblem(*item, key, accepted);
      }
    }
  }

  // Calls `read` with every string of the array `key`; it returns what is accepted
  // instead, or nothing.
  template <typename Read>
  void Texts(const char* key, Read read, const KeyDoc& doc = {}) {
    constexpr char kAccepted[] = "an array of strings";
    Describe(key, "", doc);
    for (const toml::node* item : Items(key, kAccepted)) {
      const auto value = item->value_exact<std::string>();
      const std::string accepted = value ? read(*value) : kAccepted;
      if (!accepted.empty()) AddProblem(*item, key, accepted);
    }
  }

  template <typename Read>
  void Table(const char* key, Read read) {
    if (problems_->reference() != nullptr) return read(toml::table{});
    const toml::node* node = Take(key);
    if (node == nullptr) return;
    if (const toml::table* table = node->as_table()) return read(*table);
    AddProblem(*node, key, absl::StrCat("a [", key, "] table"));
  }

  // Says `text` of a key that is there, and takes it.
  void Note(const char* key, absl::string_view text);
  // A problem that a reader does not see; at the line of the table, or of the key.
  void AddProblem(absl::string_view key, absl::string_view found, absl::string_view accepted);
  void AddProblemAtKey(absl::string_view key, absl::string_view found, absl::string_view accepted);

 private:
  void AddProblem(const toml::node& node, absl::string_view key, absl::string_view accepted);
  void AddProblem(uint32_t line, absl::string_view key, absl::string_view found,
                  absl::string_view accepted);
  static std::string Quoted(absl::string_view text) { return absl::StrCat("\"", text, "\""); }
  void Describe(const char* key, absl::string_view fallback, const KeyDoc& doc);
  // Returns: null when the key is not there.
  const toml::node* Take(const char* key);
  const toml::node* Take(const char* key, absl::string_view fallback, const KeyDoc& doc) {
    Describe(key, fallback, doc);
    return Take(key);
  }
  // The items of the array `key`.
  std::vector<const toml::node*> Items(const char* key, absl::string_view accepted);

  const toml::table& table_;
  std::string name_;
  Problems* problems_;
  std::set<std::string> known_;
};

}  // namespace wicket
