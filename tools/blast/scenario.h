// A scenario: a TOML file with any of the options of the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <istream>
#include <vector>

namespace wicket::blast {

// Reads such a file for CLI11. A key is an option's long name without the dashes. A value is a
// string that is not empty, a number, true or false for a flag, or an array of those.
// Errors: throws CLI::ConfigError, as CLI11 expects; it names the file, the line and the fault.
class Scenario : public CLI::ConfigBase {
 public:
  // `app` must outlive this.
  explicit Scenario(const CLI::App* app) : app_(app) {}
  std::vector<CLI::ConfigItem> from_config(std::istream& input) const override;

 private:
  const CLI::App* app_;
};

}  // namespace wicket::blast
