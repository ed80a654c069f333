// wicket doctor: what is wrong with the gateway or its machine, and what mends it.
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "edge/access.h"
#include "edge/config.h"
#include "gateway/machine.h"
#include "report/service_checks.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/text.h"

namespace wicket::tools {
namespace {

using report::Finding;
using report::Grade;

struct DoctorOptions {
  std::string config = "/etc/wicket.toml";
  std::string edge_config = "/etc/wicket-edge/edge.toml";
  std::string hook_config = "/etc/wicket-hook/hooks.toml";
  std::string status_file;            // empty: as configured
  std::vector<std::string> accepted;  // names of checks
  bool json = false;
  bool nagios = false;
  bool fix = false;
  bool yes = false;
};

// `hidden`: set when a status is there that this user may not read.
std::optional<document::Status> ReadStatus(const std::string& path, bool* hidden) {
  errno = 0;
  std::ifstream file(path);
  *hidden = !file && errno == EACCES;
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  auto status = document::ParseStatus(text);
  if (!file || !status.ok()) return std::nullopt;
  return *std::move(status);
}

std::string Badge(Grade grade) {
  const char* texts[] = {"[ OK ]", "[WARN]", "[FAIL]"};
  const char* colours[] = {"\x1b[32m", "\x1b[33m", "\x1b[31m"};
  const auto index = static_cast<size_t>(grade);
  if (!Coloured()) return texts[index];
  return absl::StrCat(colours[index], texts[index], "\x1b[0m");
}

void Print(const Finding& finding) {
  std::cout << Badge(finding.grade) << " " << finding.check << ": " << finding.what << "\n";
  if (!finding.why.empty()) std::cout << "       " << finding.why << "\n";
  if (!finding.mend.empty()) std::cout << "       -> " << finding.mend << "\n";
}

size_t CountOf(const std::vector<Finding>& findings, Grade grade) {
  return static_cast<size_t>(std::count_if(findings.begin(), findings.end(),
                                           [&](const Finding& one) { return one.grade == grade; }));
}

std::string Totals(const std::vector<Finding>& findings) {
  return absl::StrCat(CountOf(findings, Grade::kFailure), " failed, ",
                      CountOf(findings, Grade::kWarning), " warnings, ",
                      CountOf(findings, Grade::kOk), " ok");
}

// One line, and after a bar the numbers that a monitoring system draws.
int PrintForNagios(const std::vector<Finding>& findings) {
  const Grade worst = report::WorstOf(findings);
  const char* words[] = {"OK", "WARNING", "CRITICAL"};
  std::vector<std::string> bad;
  for (const Finding& finding : findings) {
    if (finding.grade == worst && worst != Grade::kOk) {
      bad.push_back(absl::StrCat(finding.check, ": ", finding.what));
    }
  }
  std::string text = bad.empty() ? Totals(findings) : absl::StrJoin(bad, "; ");
  std::replace(text.begin(), text.end(), '|', '/');
  std::replace(text.begin(), text.end(), '\n', ' ');
  std::cout << "WICKET " << words[static_cast<size_t>(worst)] << " - " << text
            << " | failed=" << CountOf(findings, Grade::kFailure)
            << " warnings=" << CountOf(findings, Grade::kWarning) << "\n";
  return static_cast<int>(worst);
}

bool Agreed() {
  std::cout << "  run it? [y/N] " << std::flush;
  std::string answer;
  return std::getline(std::cin, answer) && (answer == "y" || answer == "Y");
}

// Returns: whether the command ended with 0.
bool RunCommand(const std::vector<std::string>& command) {
  const pid_t child = fork();
  if (child == 0) {
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    execvp(arguments[0], arguments.data());
    perror(arguments[0]);
    _exit(127);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

// Returns: whether every command that was agreed to has worked.
bool Fix(const std::vector<Finding>& findings, bool yes) {
  bool all_worked = true, any = false;
  for (const Finding& finding : findings) {
    if (finding.fix.empty()) continue;
    any = true;
    std::cout << "\n" << finding.check << ": " << absl::StrJoin(finding.fix, " ") << "\n";
    if (!yes && !Agreed()) continue;
    all_worked &= RunCommand(finding.fix);
  }
  if (!any) std::cout << "\nnothing that a command mends safely\n";
  return all_worked;
}

struct Said {
  int status = 0;
  std::string text;  // both outputs
};

// nullopt: there is no such program.
std::optional<Said> OutputOf(const std::vector<std::string>& command) {
  std::string line = "exec 2>&1; exec";
  for (const std::string& word : command) absl::StrAppend(&line, " ", QuoteForShell(word));
  FILE* pipe = popen(line.c_str(), "re");
  if (pipe == nullptr) return std::nullopt;
  Said said;
  char bytes[4096];
  for (size_t n; (n = fread(bytes, 1, sizeof(bytes), pipe)) > 0;) said.text.append(bytes, n);
  said.status = pclose(pipe);
  constexpr int kNotFound = 127;
  const bool found = !WIFEXITED(said.status) || WEXITSTATUS(said.status) != kNotFound;
  return found ? std::optional(said) : std::nullopt;
}

// The certificate of wicket-edge. nullopt: wicket-edge is not set up, or its files are not for this
// user's eyes.
std::optional<report::CertificateFacts> LookAtEdge(const std::string& path) {
  if (access(path.c_str(), R_OK) != 0) return std::nullopt;
  const auto config = edge::Config::Load(path);
  if (!config.ok()) {
    return report::CertificateFacts{.problem = std::string(config.status().message())};
  }
  if (access(config->tls_key.c_str(), R_OK) != 0 && errno == EACCES) return std::nullopt;
  edge::Access access;
  report::CertificateFacts facts{.path = config->tls_certificate};
  struct stat key;
  facts.key_open_to_others = stat(config->tls_key.c_str(), &key) == 0 && (key.st_mode & 0007) != 0;
  if (const absl::Status loaded = access.Load(*config); !loaded.ok()) {
    facts.problem = std::string(loaded.message());
  } else {
    facts.expires = access.latest()->tls.expires();
  }
  return facts;
}

// What wicket-hook itself says of its configuration, and of the files that it names. nullopt: it is
// not set up, or its files are not for this user's eyes.
std::optional<std::string> LookAtHook(const std::string& path) {
  if (access(path.c_str(), R_OK) != 0) return std::nullopt;
  const std::vector<std::string> command = {"wicket-hook", "--check", "--config", path};
  const auto said = OutputOf(command);
  if (!said) return std::nullopt;  // it is not installed
  return said->status == 0 ? "" : said->text.substr(0, said->text.find('\n'));
}

// Leaves out the warnings that the operator knows of.
void Accept(const std::vector<std::string>& names, std::vector<Finding>* findings) {
  for (const std::string& name : names) {
    const bool known = std::any_of(findings->begin(), findings->end(),
                                   [&](const Finding& finding) { return finding.check == name; });
    if (!known) std::cerr << "note: --accept " << name << ": nothing is found of this name now\n";
  }
  std::erase_if(*findings, [&](const Finding& finding) {
    return finding.grade == Grade::kWarning &&
           std::find(names.begin(), names.end(), finding.check) != names.end();
  });
}

int Doctor(const DoctorOptions& options) {
  const auto config = gateway::LoadConfig(options.config);
  std::string status_file = options.status_file;
  if (status_file.empty())
    status_file = config.ok() ? config->status_file : gateway::Config{}.status_file;
  report::Machine machine = gateway::LookAtMachine(options.config, config);
  bool hidden = false;  // the status, which a device that hangs would have made old meanwhile
  const std::optional<document::Status> status = ReadStatus(status_file, &hidden);
  if (status) machine.process = gateway::LookAtProcess(status->pid);
  machine.edge = LookAtEdge(options.edge_config);
  machine.hook_problem = LookAtHook(options.hook_config);
  std::vector<Finding> findings = report::Diagnose(machine, status ? &*status : nullptr);
  if (hidden) {
    report::Findings told("");
    told.Warn(report::kServiceCheck, absl::StrCat(status_file, " may not be read by this user"),
              "what the gateway says of itself is not known", "sudo wicket doctor");
    std::erase_if(findings,
                  [](const Finding& finding) { return finding.check == report::kServiceCheck; });
    told.MoveTo(&findings);
  }
  Accept(options.accepted, &findings);
  if (options.nagios) return PrintForNagios(findings);
  if (options.json) {
    std::cout << report::ToJson(findings) << "\n";
  } else {
    for (const Finding& finding : findings) Print(finding);
    std::cout << Totals(findings) << "\n";
  }
  if (options.fix && !Fix(findings, options.yes)) return kFailure;
  return report::WorstOf(findings) == Grade::kFailure ? kFailure : kOk;
}

}  // namespace

void AddDoctorCommand(CLI::App* app, std::function<int()>* run) {
  static DoctorOptions options;
  CLI::App* command = app->add_subcommand(
      "doctor", "what is wrong with the gateway or its machine, and what mends it");
  command->add_option("-c,--config", options.config, "wicketd's configuration")
      ->type_name("FILE")
      ->capture_default_str();
  command->add_option("--edge-config", options.edge_config, "wicket-edge's configuration, if any")
      ->type_name("FILE")
      ->capture_default_str();
  command->add_option("--hook-config", options.hook_config, "wicket-hook's configuration, if any")
      ->type_name("FILE")
      ->capture_default_str();
  command->add_option("--status-file", options.status_file, "default: as configured")
      ->type_name("FILE");
  command
      ->add_option("--accept", options.accepted,
                   "leave out this check's warning, which you know of; may be given several times")
      ->type_name("CHECK")
      ->allow_extra_args(false);
  auto* json = command->add_flag("--json", options.json, "print JSON");
  auto* nagios = command->add_flag("--nagios", options.nagios,
                                   "one line, and exit status 0, 1 or 2, for a monitoring system");
  auto* fix = command->add_flag(
      "--fix", options.fix, "run the commands that are safe and can be undone; asks before each");
  command->add_flag("--yes", options.yes, "with --fix: do not ask")->needs(fix);
  json->excludes(nagios)->excludes(fix);
  nagios->excludes(fix);
  command->footer(
      "Exit status: 0 nothing failed, 1 a check failed; with --nagios 0 ok, 1 warning, "
      "2 critical.");
  command->callback([run] { *run = [] { return Doctor(options); }; });
}

}  // namespace wicket::tools
