#include "tools/blast/scenario.h"

#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/toml.h"

namespace wicket::blast {
namespace {

constexpr const char* kAccepted = "accepted: a string, a number, true, false, or an array of them";

[[noreturn]] void Fail(const std::string& file, const toml::source_region& where,
                       const std::string& what) {
  throw CLI::ConfigError(absl::StrCat("wicket-blast: ", file, ":", where.begin.line, ": ", what),
                         CLI::ExitCodes::ConfigError);
}

// Returns: the value as it would be on the command line; empty when it has no such form.
std::string Word(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (!node.is_boolean() && !node.is_number()) return "";
  std::ostringstream word;
  word << toml::node_view<const toml::node>(&node);
  return word.str();
}

}  // namespace

std::vector<CLI::ConfigItem> Scenario::from_config(std::istream& input) const {
  const auto file = app_->get_config_ptr()->as<std::string>();
  const toml::parse_result parsed = toml::parse(input);
  if (!parsed) Fail(file, parsed.error().source(), std::string(parsed.error().description()));
  std::vector<CLI::ConfigItem> found;
  for (const auto& [key, node] : parsed.table()) {
    CLI::ConfigItem item;
    item.name = std::string(key.str());
    const CLI::Option* option = app_->get_option_no_throw(absl::StrCat("--", item.name));
    if (option == nullptr || !option->get_configurable()) {
      Fail(file, key.source(),
           absl::StrCat("found \"", item.name, "\"; accepted: options of --help, without dashes"));
    }
    const auto take = [&](const toml::node& value) {
      item.inputs.push_back(Word(value));
      if (item.inputs.back().empty()) {
        Fail(file, value.source(), absl::StrCat(item.name, ": ", kAccepted));
      }
    };
    if (const toml::array* array = node.as_array()) {
      for (const toml::node& value : *array) take(value);
    } else {
      take(node);
    }
    found.push_back(std::move(item));
  }
  return found;
}

}  // namespace wicket::blast
