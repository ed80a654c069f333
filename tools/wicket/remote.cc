#include "tools/wicket/remote.h"

#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <filesystem>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "base/config_section.h"
#include "base/fd.h"
#include "edge/tls.h"

namespace wicket::tools {
namespace {

constexpr timeval kPatience{.tv_sec = 10, .tv_usec = 0};

std::vector<std::string> Files() {
  std::vector<std::string> files;
  const char* config = getenv("XDG_CONFIG_HOME");
  const char* home = getenv("HOME");
  if (config != nullptr && *config != 0) {
    files.push_back(absl::StrCat(config, "/wicket/remotes.toml"));
  } else if (home != nullptr) {
    files.push_back(absl::StrCat(home, "/.config/wicket/remotes.toml"));
  }
  files.push_back("/etc/wicket/remotes.toml");
  return files;
}

// "https://HOST[:PORT]", an IPv6 address in brackets. Returns: false for anything else.
bool ParseUrl(absl::string_view url, Remote* remote) {
  if (!absl::ConsumePrefix(&url, "https://")) return false;
  absl::ConsumeSuffix(&url, "/");
  const size_t end = absl::ConsumePrefix(&url, "[") ? url.find(']') : url.find(':');
  remote->host = std::string(url.substr(0, end));
  url = end == url.npos ? "" : url.substr(end);
  absl::ConsumePrefix(&url, "]");
  uint32_t port = remote->port;
  if (absl::ConsumePrefix(&url, ":") && !absl::SimpleAtoi(url, &port)) return false;
  remote->port = static_cast<uint16_t>(port);
  return !remote->host.empty() && port > 0 && port < 65536 &&
         remote->host.find_first_of("/?#@ ") == std::string::npos;
}

absl::StatusOr<std::string> ReadToken(const std::string& path) {
  WICKET_ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
  const std::string token(absl::StripAsciiWhitespace(text));
  if (token.find_first_of("\r\n") == std::string::npos && !token.empty()) return token;
  return absl::InvalidArgumentError(absl::StrCat(path, ": found no token; accepted: one line"));
}

// Reads one [[remote]]. Returns: its name.
std::string Read(const toml::table& table, const std::filesystem::path& folder, Problems* problems,
                 Remote* remote, std::string* token_file) {
  Section section(table, "remote", problems);
  std::string name, url;
  section.Text("name", &name);
  section.Text("url", &url);
  section.Text("token_file", token_file);
  section.Text("ca", &remote->ca);
  section.Text("certificate", &remote->certificate);
  section.Text("key", &remote->key);
  if (name.empty()) section.AddProblem("name", "nothing", "a name");
  if (!ParseUrl(url, remote)) {
    section.AddProblem("url", url.empty() ? "nothing" : url, "https://HOST:PORT");
  }
  if (remote->certificate.empty() != remote->key.empty()) {
    section.AddProblem("key", "one of certificate and key", "both or none");
  }
  for (std::string* file : {token_file, &remote->ca, &remote->certificate, &remote->key}) {
    if (!file->empty()) *file = folder / *file;
  }
  return name;
}

}  // namespace

absl::StatusOr<Remote> FindRemote(const std::string& wanted) {
  std::vector<std::string> names;
  for (const std::string& path : Files()) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) continue;
    WICKET_ASSIGN_OR_RETURN(const std::string text, ReadConfigFile(path));
    WICKET_ASSIGN_OR_RETURN(const toml::table table, ParseToml(text, path));
    Problems problems(path);
    std::optional<Remote> found;
    std::string token_file;
    {
      Section section(table, "", &problems);
      section.Tables("remote", [&](const toml::table& one) {
        Remote remote;
        std::string its_token_file;
        const std::string name = Read(one, std::filesystem::path(path).parent_path(), &problems,
                                      &remote, &its_token_file);
        names.push_back(name);
        if (name != wanted || found) return;
        found = remote;
        token_file = its_token_file;
      });
    }
    WICKET_RETURN_IF_ERROR(problems.ToStatus());
    if (!found) continue;
    if (!token_file.empty()) {
      WICKET_ASSIGN_OR_RETURN(found->token, ReadToken(token_file));
    }
    return *found;
  }
  return absl::NotFoundError(
      absl::StrCat("no remote \"", wanted, "\" in ", absl::StrJoin(Files(), " or "),
                   names.empty() ? "" : absl::StrCat("; there are: ", absl::StrJoin(names, ", "))));
}

absl::StatusOr<std::unique_ptr<http::Transport>> ConnectTo(const Remote& remote) {
  WICKET_ASSIGN_OR_RETURN(auto context,
                          edge::MakeClientContext(remote.ca, remote.certificate, remote.key));
  addrinfo hints{.ai_socktype = SOCK_STREAM}, *list = nullptr;
  const std::string port = absl::StrCat(remote.port);
  if (int code = getaddrinfo(remote.host.c_str(), port.c_str(), &hints, &list)) {
    return absl::UnavailableError(absl::StrCat(remote.host, ": ", gai_strerror(code)));
  }
  const std::unique_ptr<addrinfo, void (*)(addrinfo*)> addresses(list, freeaddrinfo);
  absl::Status status;
  for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
    Fd fd(socket(one->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kPatience, sizeof(kPatience));  // of connect()
    if (connect(fd.get(), one->ai_addr, one->ai_addrlen) != 0) {
      status = absl::UnavailableError(
          absl::StrCat("connect(", remote.host, ":", port, "): ", strerror(errno)));
      continue;
    }
    auto transport = std::make_unique<edge::TlsTransport>(std::move(fd), context);
    transport->ExpireIn(absl::Seconds(kPatience.tv_sec));
    WICKET_RETURN_IF_ERROR(transport->Connect(remote.host));
    return transport;
  }
  return status;
}

}  // namespace wicket::tools
