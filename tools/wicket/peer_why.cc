// wicket peer why: what stands between a peer and a session.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/peer_commands.h"
#include "tools/wicket/peer_view.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

// What stands between this peer and a session, as far as the gateway can know.
// `status`: wicketd's; null when none runs.
std::vector<std::string> Reasons(const json::object& peer, const json::object* status) {
  std::vector<std::string> reasons;
  const absl::Time now = WallNow();
  if (peer.contains("expires_at") && TimeOf(peer, "expires_at") <= now) {
    reasons.push_back("it has expired: its initiations are refused");
  }
  if (AllowedIpsOf(peer) == "(none)") {
    reasons.push_back("it has no allowed ips: a session comes about and carries no data");
  }
  const auto* found = peer.if_contains("session");
  const std::string state = TextOf(peer, "state");
  if (state == "established") {
    reasons.push_back("it is installed and has a session");
  } else if (state == "probation") {
    reasons.push_back(
        "it is installed, and waits for the first data of its session; if that takes longer than "
        "some seconds, the answer does not reach it (its firewall, or the route back), or its "
        "preshared key differs");
  } else if (state == "leaving") {
    reasons.push_back("its session is dead and it is about to be removed");
  } else if (found == nullptr) {
    reasons.push_back(
        "no initiation of it was ever proven: none arrived, it was made for another "
        "public key of the gateway, or its clock or key is wrong (`wicket status` "
        "counts what was refused)");
  } else if (status != nullptr) {
    reasons.push_back("it was here before and is not installed: it has not called since");
  }
  if (status == nullptr) {
    reasons.push_back(
        "no wicketd runs here: whether it is in its device, `wg show` tells; if it is not, nobody "
        "puts it there");
  }
  for (const auto& device : status ? status->at("devices").as_array() : json::array()) {
    if (TextOf(device.get_object(), "name") != TextOf(peer, "device")) continue;
    if (TextOf(device.get_object(), "backend") == "away") {
      reasons.push_back("its device is away");
    }
  }
  return reasons;
}

int Why(const ConnectionOptions& where, const std::string& key, bool as_json) {
  const auto connection = OpenTelling(where);
  if (!connection.ok()) return Fail(connection.status());
  const auto answer = CallForPeer(**connection, "GET", key);
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
  json::object status;
  if ((*connection)->online()) {
    const auto text = (*connection)->Call("GET", "/v1/status");
    if (text.ok()) status = json::parse(text->text).get_object();
  }
  const auto reasons = Reasons(json::parse(answer->text).get_object(),
                               status.contains("devices") ? &status : nullptr);
  if (as_json) {
    json::object out{{"stored", true}};
    out["reasons"] = json::array(reasons.begin(), reasons.end());
    std::cout << json::serialize(out) << "\n";
  } else {
    for (const std::string& reason : reasons) std::cout << key << ": " << reason << "\n";
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
