// wicket peer add: a peer, as the command line describes it.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <fstream>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/address.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/peer_commands.h"
#include "tools/wicket/peer_view.h"
#include "tools/wicket/text.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

struct AddOptions {
  std::string key, pool, preshared_key_file, expires_at;
  std::vector<std::string> allowed_ips, labels;
  int keepalive = 0;
  int64_t ttl_s = 0;
  int64_t quota_bytes = 0, quota_s = 0;
  bool pinned = false, json = false;
  bool replace = false;
};

absl::StatusOr<std::string> BodyOf(const AddOptions& options) {
  json::object body;
  json::array& prefixes = body["allowed_ips"].emplace_array();
  for (const std::string& text : options.allowed_ips) {
    prefixes.emplace_back(text);
    const std::optional<Prefix> prefix = ParsePrefix(text);
    const auto address = ParseAddress(text.substr(0, text.find('/')));
    if (!prefix || !address || prefix->address == *address) continue;
    std::cerr << "wicket: note: " << text << " is taken as " << ToString(*prefix)
              << "; for one address write " << text.substr(0, text.find('/')) << "\n";
  }
  if (!options.pool.empty()) body["allocate"] = options.pool;
  if (!options.preshared_key_file.empty()) {
    std::ifstream file(options.preshared_key_file);
    std::string line;
    if (!std::getline(file, line)) {
      return absl::InvalidArgumentError(
          absl::StrCat(options.preshared_key_file, ": cannot be read"));
    }
    body["preshared_key"] = line;
  }
  if (options.keepalive) body["persistent_keepalive"] = options.keepalive;
  if (options.ttl_s) body["ttl"] = options.ttl_s;
  if (!options.expires_at.empty()) body["expires_at"] = options.expires_at;
  if (options.pinned) body["pinned"] = true;
  if (options.quota_bytes) body["quota_bytes"] = options.quota_bytes;
  if (options.quota_s) body["quota_seconds"] = options.quota_s;
  if (!options.labels.empty()) {
    json::object& labels = body["labels"].emplace_object();
    for (const std::string& label : options.labels) {
      const std::pair<std::string, std::string> pair =
          absl::StrSplit(label, absl::MaxSplits('=', 1));
      if (label.find('=') == label.npos) {
        return absl::InvalidArgumentError(
            absl::StrCat("--label: found \"", label, "\"; accepted: NAME=VALUE"));
      }
      labels[pair.first] = pair.second;
    }
  }
  return json::serialize(body);
}

int Add(const ConnectionOptions& where, const AddOptions& options) {
  const auto connection = OpenTelling(where);
  if (!connection.ok()) return Fail(connection.status());
  const auto body = BodyOf(options);
  if (!body.ok()) return Fail(body.status());
  // An older gateway does not know `new`, and would replace the peer.
  if (!options.replace && CallForPeer(**connection, "GET", options.key, "").ok()) {
    return Fail(absl::AlreadyExistsError(
        "the peer is stored already; --replace stores what this command says, in place of all that "
        "is stored"));
  }
  const auto answer =
      CallForPeer(**connection, "PUT", options.key, options.replace ? "" : "?new=true", *body);
  if (!answer.ok()) return Fail(answer.status());
  if (options.json) {
    std::cout << answer->text;
  } else {
    const auto peer = json::parse(answer->text).get_object();
    std::cout << (answer->status == 201 ? "created" : "updated") << ": "
              << TextOf(peer, "public_key") << " on " << TextOf(peer, "device") << ", allowed ips "
              << AllowedIpsOf(peer) << "\n";
    if (Expired(peer)) std::cerr << "wicket: note: it has expired already, and is refused\n";
  }
  return kOk;
}

}  // namespace

void AddPeerAddCommand(CLI::App* peer, std::function<int()>* run) {
  static ConnectionOptions where;
  static AddOptions options;
  CLI::App* command = peer->add_subcommand("add", "create a peer");
  AddConnectionOptions(command, &where);
  command->add_option("key", options.key, "the peer's public key")->check(CheckKey)->required();
  command->add_option("--allowed-ips", options.allowed_ips, "addresses it may use, with commas")
      ->type_name("CIDR")
      ->delimiter(',')
      ->transform(Trim);
  command->add_option("--allocate", options.pool, "take its addresses from a pool of wicketd's")
      ->type_name("POOL");
  command
      ->add_option("--preshared-key-file", options.preshared_key_file, "file with a preshared key")
      ->type_name("FILE");
  command->add_option("--persistent-keepalive", options.keepalive, "seconds")
      ->check(CLI::Range(0, 65535));
  command->add_option("--ttl", options.ttl_s, "it expires after SECONDS")
      ->type_name("SECONDS")
      ->check([](const std::string& text) {
        int64_t seconds = 0;
        return absl::SimpleAtoi(text, &seconds) && seconds > 0
                   ? std::string()
                   : absl::StrCat("found ", text, "; accepted: a number of seconds");
      });
  command->add_option("--expires-at", options.expires_at, "it expires then (RFC 3339)");
  command->add_option("--label", options.labels, "NAME=VALUE, any number of times");
  auto* quota = command->add_option("--quota-bytes", options.quota_bytes,
                                    "most bytes in a period; beyond that it leaves");
  quota->type_name("BYTES");
  command->add_option("--quota-seconds", options.quota_s, "the period; default: 30 days")
      ->type_name("SECONDS")
      ->needs(quota);
  command->add_flag("--pinned", options.pinned, "once in the device, it stays");
  command->add_flag("--replace", options.replace,
                    "a peer that is stored: replace all that is stored of it");
  command->add_flag("--json", options.json, "print the stored peer as JSON");
  command->callback([run] { *run = [] { return Add(where, options); }; });
}

}  // namespace wicket::tools
