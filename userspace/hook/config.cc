#include "hook/config.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "base/config_section.h"
#include "event/event_log.h"

namespace wicket::hook {
namespace {

constexpr size_t kHooksMax = 16;  // each has a connection to wicketd
constexpr size_t kNameBytesMax = 64;

constexpr absl::string_view kKinds[] = {
#define WICKET_HOOK_KIND(name, text, help) text,
    WICKET_EVENTS(WICKET_HOOK_KIND)
#undef WICKET_HOOK_KIND
};

// It is the name of a folder, too.
bool IsName(const std::string& text) {
  return !text.empty() && text.size() <= kNameBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_';
         });
}

void ReadHook(const toml::table& table, Problems* problems, Config* config) {
  Section section(table, "hook", problems);
  HookConfig hook;
  section.Text("name", &hook.name,
               {"letters, digits, `-` and `_`; also the name of its queue", "required"});
  section.Text("url", &hook.url, {"`https://`; a redirection is not followed", "required"});
  section.Text("secret_file", &hook.secret_file,
               {"the secret, as `--new-secret` prints it; not readable by others", "required"});
  section.Text("ca", &hook.ca,
               {"PEM file: signs the receiver's certificate", "what the system trusts"});
  section.Text("device", &hook.device, {"a device's name", "all"});
  section.Number("queue_max", 100, 10'000'000, " events", &hook.queue_max,
                 {"events that wait for the receiver, at least 100"});
  section.Texts("kinds",
                [&](const std::string& kind) -> std::string {
                  hook.kinds.push_back(kind);
                  return std::find(std::begin(kKinds), std::end(kKinds), kind) != std::end(kKinds)
                             ? ""
                             : absl::StrCat("kinds of events: ", absl::StrJoin(kKinds, ", "));
                },
                {"kinds of events, as `wicket events` shows them", "all"});
  // It goes into a URL.
  if (std::any_of(hook.device.begin(), hook.device.end(),
                  [](char c) { return c <= ' ' || c >= 127 || absl::StrContains("%&#+?", c); })) {
    section.AddProblem("device", absl::StrCat("\"", hook.device, "\""), "a device's name");
  }
  if (!IsName(hook.name)) {
    section.AddProblem("name", absl::StrCat("\"", hook.name, "\""), "letters, digits, - and _");
  }
  if (!absl::StartsWith(hook.url, "https://")) {
    section.AddProblem("url", absl::StrCat("\"", hook.url, "\""), "https://HOST[:PORT]/PATH");
  }
  if (hook.secret_file.empty()) {
    section.AddProblem("secret_file", "nothing",
                       "a file with the secret that signs, as wicket-hook --new-secret prints one");
  }
  if (std::any_of(config->hooks.begin(), config->hooks.end(),
                  [&](const HookConfig& other) { return other.name == hook.name; })) {
    section.AddProblem("name", absl::StrCat(hook.name, " a second time"), "each name once");
  }
  config->hooks.push_back(std::move(hook));
}

void ReadFile(const toml::table& table, Problems* problems, Config* config) {
  Section section(table, "", problems);
  section.Text("socket", &config->socket, {"`wicketd`'s socket"});
  section.Text("queue", &config->queue, {"the folder of the queues"});
  section.Tables("hook", [&](const toml::table& hook) { ReadHook(hook, problems, config); });
  if (config->hooks.empty() || config->hooks.size() > kHooksMax) {
    section.AddProblem("hook", absl::StrCat(config->hooks.size(), " tables"),
                       absl::StrCat("1 to ", kHooksMax, " [[hook]] tables"));
  }
}

}  // namespace

absl::StatusOr<Config> Config::Parse(absl::string_view text, const std::string& name) {
  WICKET_ASSIGN_OR_RETURN(const toml::table table, ParseToml(text, name));
  Problems problems(name);
  Config config;
  ReadFile(table, &problems, &config);
  WICKET_RETURN_IF_ERROR(problems.ToStatus());
  return config;
}

std::string Config::Reference() {
  KeyReference reference;
  Problems problems("", &reference);
  Config config;
  ReadFile(toml::table{}, &problems, &config);
  return reference.text();
}

absl::StatusOr<Config> Config::Load(const std::string& path) {
  WICKET_ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
  WICKET_ASSIGN_OR_RETURN(Config config, Parse(text, path));
  const std::filesystem::path folder = FolderOfFiles(path);
  for (HookConfig& hook : config.hooks) {
    for (std::string* file : {&hook.secret_file, &hook.ca}) {
      if (!file->empty()) *file = folder / *file;
    }
  }
  return config;
}

}  // namespace wicket::hook
