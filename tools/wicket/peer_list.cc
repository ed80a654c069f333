// wicket peer ls: the stored peers, page by page.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/peer_commands.h"
#include "tools/wicket/peer_view.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

struct ListOptions {
  std::string label, prefix;
  bool installed = false, expired = false, json = false, dump = false;
};

std::string QueryOf(const ListOptions& options) {
  std::string query = "?limit=1000";
  if (!options.label.empty()) absl::StrAppend(&query, "&label=", Escape(options.label));
  if (!options.prefix.empty()) absl::StrAppend(&query, "&prefix=", Escape(options.prefix));
  if (options.installed) query += "&installed=true";
  if (options.expired) query += "&expired=true";
  return query;
}

// The preshared key of a peer on a page, which does not tell it; empty: it has none.
absl::StatusOr<std::string> PresharedKeyOf(Connection& connection, const std::string& device,
                                           const json::object& peer) {
  if (!peer.at("has_preshared_key").as_bool()) return "";
  const auto key = ParsePublicKey(TextOf(peer, "public_key"));
  WICKET_ASSIGN_OR_RETURN(
      const Answer secret,
      connection.Call("GET", PathOf(device, "/peers/", &*key) + "?secrets=true"));
  WICKET_RETURN_IF_ERROR(ErrorOf(secret));
  return TextOf(json::parse(secret.text).get_object(), "preshared_key");
}

absl::Status PrintPage(Connection& connection, const std::string& device, const json::array& peers,
                       const ListOptions& options, bool is_first_page) {
  bool first = is_first_page;
  for (const auto& item : peers) {
    const json::object& peer = item.get_object();
    if (options.json) {
      std::cout << json::serialize(peer) << "\n";
    } else if (options.dump) {
      WICKET_ASSIGN_OR_RETURN(const std::string preshared_key,
                              PresharedKeyOf(connection, device, peer));
      PrintDumpLine(peer, preshared_key);
    } else {
      if (!first) std::cout << "\n";
      PrintPeer(peer);
    }
    first = false;
  }
  return absl::OkStatus();
}

absl::Status ListAll(Connection& connection, const ListOptions& options) {
  WICKET_ASSIGN_OR_RETURN(const std::string device, connection.Device());
  const std::string target = PathOf(device, "/peers") + QueryOf(options);
  std::string cursor;
  bool first = true;
  do {
    WICKET_ASSIGN_OR_RETURN(
        const Answer answer,
        connection.Call("GET", target + (cursor.empty() ? "" : "&cursor=" + cursor)));
    WICKET_RETURN_IF_ERROR(ErrorOf(answer));
    const auto page = json::parse(answer.text).get_object();
    const json::array& peers = page.at("peers").as_array();
    WICKET_RETURN_IF_ERROR(PrintPage(connection, device, peers, options, first));
    first = first && peers.empty();
    cursor = TextOf(page, "next_cursor");
  } while (!cursor.empty() && std::cout);
  return absl::OkStatus();
}

int List(const ConnectionOptions& where, const ListOptions& options) {
  const auto connection = OpenTelling(where);
  if (!connection.ok()) return Fail(connection.status());
  const absl::Status listed = ListAll(**connection, options);
  return listed.ok() ? kOk : Fail(listed);
}

}  // namespace

void AddPeerListCommand(CLI::App* peer, std::function<int()>* run) {
  static ConnectionOptions where;
  static ListOptions options;
  CLI::App* command = peer->add_subcommand("ls", "list stored peers");
  command->alias("list");
  AddConnectionOptions(command, &where);
  command->add_option("--label", options.label, "only with this label")->type_name("NAME=VALUE");
  command->add_option("--prefix", options.prefix, "only with an allowed ip inside it")
      ->type_name("CIDR");
  command->add_flag("--installed", options.installed, "only those in the device");
  command->add_flag("--expired", options.expired, "only those whose time is over");
  auto* json_flag = command->add_flag("--json", options.json, "a JSON object a line");
  command
      ->add_flag("--dump", options.dump, "lines as `wg show all dump` has them, preshared keys too")
      ->excludes(json_flag);
  command->callback([run] { *run = [] { return List(where, options); }; });
}

}  // namespace wicket::tools
