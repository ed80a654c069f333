// A scenario: a TOML file with any of the options of the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <istream>
#include <vector>

namespace wicket::blast {

// What CLI11 reads such a file with. A key is an option's long name without its dashes; a
// value is a string, a number, a flag's true or false, or an array of those.
// Throws, as CLI11 expects: CLI::ConfigError, saying in which file and line what is wrong.
class Scenario : public CLI::ConfigBase {
 public:
  // `app` must outlive this.
  explicit Scenario(const CLI::App* app) : app_(app) {}
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;

 private:
  const CLI::App* app_;
};

}  // namespace wicket::blast
