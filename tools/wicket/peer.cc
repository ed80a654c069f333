// wicket peer: the commands that take the key of a stored peer, and nothing more.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <string>
#include <vector>

#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/peer_commands.h"
#include "tools/wicket/peer_view.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

int Remove(const ConnectionOptions& where, const std::vector<std::string>& keys) {
  const auto connection = OpenTelling(where);
  if (!connection.ok()) return Fail(connection.status());
  int result = kOk;
  for (const std::string& key : keys) {
    const auto answer = CallForPeer(**connection, "DELETE", key);
    if (answer.ok()) {
      std::cout << "deleted: " << key
                << ((*connection)->online()
                        ? "\n"
                        : "; if it is in a device, it leaves when wicketd starts\n");
    } else {
      std::cerr << "wicket: " << key << ": " << answer.status().message() << "\n";
      result = kFailure;
    }
  }
  return result;
}

int Show(const ConnectionOptions& where, const std::string& key, bool as_json) {
  const auto connection = OpenTelling(where);
  if (!connection.ok()) return Fail(connection.status());
  const auto answer = CallForPeer(**connection, "GET", key);
  if (!answer.ok()) return Fail(answer.status());
  if (as_json) {
    std::cout << answer->text;
  } else {
    PrintPeer(json::parse(answer->text).get_object());
  }
  return kOk;
}

int ResetReplay(const ConnectionOptions& where, const std::string& key) {
  const auto connection = OpenTelling(where);
  if (!connection.ok()) return Fail(connection.status());
  const auto answer = CallForPeer(**connection, "POST", key, "/reset-replay");
  if (!answer.ok()) return Fail(answer.status());
  std::cout << "the next initiation of " << key << " is taken whatever its timestamp\n";
  return kOk;
}

}  // namespace

void AddPeerCommands(CLI::App* app, std::function<int()>* run) {
  CLI::App* peer = app->add_subcommand("peer", "create, delete, show and list stored peers");
  peer->require_subcommand(1);
  static ConnectionOptions where;
  static std::string key;
  static std::vector<std::string> keys;
  static bool as_json = false;

  AddPeerAddCommand(peer, run);

  CLI::App* command = peer->add_subcommand("rm", "delete peers, also from their device");
  command->alias("remove");
  AddConnectionOptions(command, &where);
  command->add_option("key", keys, "public keys")->check(CheckKey)->required();
  command->callback([run] { *run = [] { return Remove(where, keys); }; });

  command = peer->add_subcommand("show", "all that is known of a peer, but secrets");
  AddConnectionOptions(command, &where);
  command->add_option("key", key, "the peer's public key")->check(CheckKey)->required();
  command->add_flag("--json", as_json, "print JSON");
  command->callback([run] { *run = [] { return Show(where, key, as_json); }; });

  AddPeerWhyCommand(peer, run);

  command = peer->add_subcommand("reset-replay", "forget the newest timestamp seen of a peer");
  AddConnectionOptions(command, &where);
  command->add_option("key", key, "the peer's public key")->check(CheckKey)->required();
  command->callback([run] { *run = [] { return ResetReplay(where, key); }; });

  AddPeerListCommand(peer, run);
}

}  // namespace wicket::tools
