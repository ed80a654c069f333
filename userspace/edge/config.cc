#include "edge/config.h"

#include <filesystem>

#include "base/config_section.h"

namespace wicket::edge {
namespace {

constexpr Choice<http::Role> kRoles[] = {
    {"metrics", http::Role::kMetrics}, {"read", http::Role::kRead}, {"write", http::Role::kWrite}};

void ReadClient(const toml::table& table, Problems* problems, Config* config) {
  Section section(table, "client", problems);
  std::string name;
  http::Role role = http::Role::kNone;
  section.Text("name", &name, {"the common name of the certificate", "required"});
  section.OneOf("role", kRoles, &role, {"`metrics`, `read` or `write`", "required"});
  if (name.empty()) section.AddProblem("name", "nothing", "the common name of a certificate");
  if (role == http::Role::kNone && !table.contains("role")) {
    section.AddProblem("role", "nothing", "\"metrics\", \"read\" or \"write\"");
  }
  if (!config->clients.emplace(name, role).second) {
    section.AddProblem("name", absl::StrCat(name, " a second time"), "each name once");
  }
}

void ReadFile(const toml::table& table, Problems* problems, Config* config) {
  Section section(table, "", problems);
  section.Texts("listen",
                [&](const std::string& text) -> std::string {
                  const auto endpoint = ParseEndpoint(text);
                  if (!endpoint || endpoint->port == 0) {
                    return "ADDRESS:PORT, such as \"0.0.0.0:8443\" or \"[::]:8443\"";
                  }
                  config->listen.push_back(*endpoint);
                  return "";
                },
                {"for example `[\"0.0.0.0:8443\", \"[::]:8443\"]`; each IP version is listed",
                 "sockets of a systemd socket unit"});
  section.Text("socket", &config->socket, {"`wicketd`'s socket"});
  section.Text("tls_certificate", &config->tls_certificate,
               {"PEM file with the chain; TLS 1.3", "required"});
  section.Text("tls_key", &config->tls_key, {"PEM file with its key", "required"});
  section.Text("tokens", &config->tokens, {"the file of tokens", "none"});
  section.Text("client_ca", &config->client_ca,
               {"PEM file: signs the certificates of clients, see `[[client]]`", "none"});
  section.Tables("client",
                 [&](const toml::table& client) { ReadClient(client, problems, config); });
  section.Number("connections_per_address", 1, 256, "", &config->connections_per_address,
                 {"open connections of an IPv4 address, or of an IPv6 /64"});
  section.Number("failures_per_minute", 1, 1'000'000, " a minute", &config->failures_per_minute,
                 {"wrong tokens of such an address; beyond that, right ones are refused too"});
  if (config->tls_certificate.empty()) {
    section.AddProblem("tls_certificate", "nothing", "a PEM file with the certificate chain");
  }
  if (config->tls_key.empty()) section.AddProblem("tls_key", "nothing", "a PEM file with the key");
  if (config->tokens.empty() && config->client_ca.empty()) {
    section.AddProblem("tokens", "neither tokens nor client_ca",
                       "a file with tokens, or client_ca, or both");
  }
  if (config->client_ca.empty() != config->clients.empty()) {
    section.AddProblem("client_ca", "one of client_ca and [[client]]", "both or none");
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
  for (std::string* file :
       {&config.tls_certificate, &config.tls_key, &config.tokens, &config.client_ca}) {
    if (!file->empty()) *file = folder / *file;
  }
  return config;
}

}  // namespace wicket::edge
