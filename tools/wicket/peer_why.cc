// wicket peer why: what stands between a peer and a session.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/peer_commands.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

int Why(const ConnectionOptions& where, const std::string& key, bool as_json) {
  const auto connection = OpenTelling(where);
  if (!connection.ok()) return Fail(connection.status());
  const auto answer = CallForPeer(**connection, "GET", key, "/why");
  if (absl::IsNotFound(answer.status())) {
    // Not stored, or not where it was looked for.
    const std::string reason =
        absl::StrCat(answer.status().message(), ": its initiations are refused here in silence");
    if (as_json) {
      std::cout << json::serialize(json::object{{"stored", false}, {"reasons", {reason}}}) << "\n";
    } else {
      std::cout << key << ": " << reason << "\n";
    }
    return kFailure;
  }
  if (!answer.ok()) return Fail(answer.status());
  json::object out = json::parse(answer->text).get_object();
  if (as_json) {
    out["stored"] = true;
    std::cout << json::serialize(out) << "\n";
  } else {
    for (const auto& reason : out.at("reasons").as_array()) {
      std::cout << key << ": " << reason.as_string().c_str() << "\n";
    }
  }
  return kOk;
}

}  // namespace

void AddPeerWhyCommand(CLI::App* peer, std::function<int()>* run) {
  static ConnectionOptions where;
  static std::string key;
  static bool as_json = false;
  CLI::App* command = peer->add_subcommand("why", "why a peer has a session, or none");
  AddConnectionOptions(command, &where);
  command->add_option("key", key, "the peer's public key")->check(CheckKey)->required();
  command->add_flag("--json", as_json, "print JSON");
  command->callback([run] { *run = [] { return Why(where, key, as_json); }; });
}

}  // namespace wicket::tools
