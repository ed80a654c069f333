// wicket peer: one peer, or a list of them.
#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/log.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/text.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

std::string TextOf(const json::object& object, const char* name) {
  const auto* value = object.if_contains(name);
  return value && value->is_string() ? std::string(value->get_string()) : "";
}

int64_t NumberOf(const json::object& object, const char* name) {
  const auto* value = object.if_contains(name);
  return value && value->is_number() ? value->to_number<int64_t>() : 0;
}

absl::Time TimeOf(const json::object& object, const char* name) {
  absl::Time time = absl::InfinitePast();
  std::string ignored;
  absl::ParseTime(absl::RFC3339_full, TextOf(object, name), &time, &ignored);
  return time;
}

std::string AllowedIpsOf(const json::object& peer) {
  std::vector<std::string> prefixes;
  for (const auto& prefix : peer.at("allowed_ips").as_array()) {
    prefixes.emplace_back(prefix.as_string());
  }
  return prefixes.empty() ? "(none)" : absl::StrJoin(prefixes, ", ");
}

// As `wg show` prints a peer, and what only Wicket knows after it.
void PrintPeer(const json::object& peer) {
  const absl::Time now = absl::Now();
  const json::object none;
  const auto* found = peer.if_contains("session");
  const json::object& session = found ? found->get_object() : none;
  const auto line = [](const char* name, const std::string& value) {
    std::cout << "  " << Bold(name) << ": " << value << "\n";
  };
  std::cout << Heading("peer", true) << ": " << Heading(TextOf(peer, "public_key"), true) << "\n";
  if (peer.at("has_preshared_key").as_bool()) line("preshared key", "(hidden)");
  if (const std::string endpoint = TextOf(session, "endpoint"); !endpoint.empty()) {
    line("endpoint", endpoint);
  }
  line("allowed ips", AllowedIpsOf(peer));
  if (session.contains("last_handshake_at")) {
    line("latest handshake", Ago(now - TimeOf(session, "last_handshake_at")));
  }
  if (NumberOf(session, "received_bytes") + NumberOf(session, "sent_bytes") > 0) {
    line("transfer",
         absl::StrCat(Size(static_cast<uint64_t>(NumberOf(session, "received_bytes"))),
                      " received, ", Size(static_cast<uint64_t>(NumberOf(session, "sent_bytes"))),
                      " sent"));
  }
  if (const int64_t seconds = NumberOf(peer, "persistent_keepalive")) {
    line("persistent keepalive",
         absl::StrCat("every ", seconds, seconds == 1 ? " second" : " seconds"));
  }
  line("device", TextOf(peer, "device"));
  line("state", TextOf(peer, "state"));
  if (found) {
    line("handshakes", absl::StrCat(NumberOf(session, "handshakes"), " in ",
                                    NumberOf(session, "installs"), " installations"));
  }
  if (peer.contains("expires_at")) line("expires", TextOf(peer, "expires_at"));
  if (peer.contains("pinned")) line("pinned", "yes");
  if (const auto* labels = peer.if_contains("labels")) {
    for (const auto& label : labels->get_object()) {
      line("label",
           absl::StrCat(std::string(label.key()), " = ", std::string(label.value().as_string())));
    }
  }
}

// A line of `wg show all dump`: device, key, psk, endpoint, allowed ips, handshake,
// received, sent, keepalive.
void PrintDumpLine(const json::object& peer, const std::string& preshared_key) {
  const json::object none;
  const auto* found = peer.if_contains("session");
  const json::object& session = found ? found->get_object() : none;
  const std::string endpoint = TextOf(session, "endpoint");
  std::string allowed_ips = AllowedIpsOf(peer);
  allowed_ips = absl::StrJoin(absl::StrSplit(allowed_ips, ", "), ",");
  const int64_t keepalive = NumberOf(peer, "persistent_keepalive");
  const absl::Time handshake = TimeOf(session, "last_handshake_at");
  absl::PrintF("%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\n", TextOf(peer, "device"),
               TextOf(peer, "public_key"), preshared_key.empty() ? "(none)" : preshared_key,
               endpoint.empty() ? "(none)" : endpoint, allowed_ips,
               handshake == absl::InfinitePast() ? 0 : absl::ToUnixSeconds(handshake),
               NumberOf(session, "received_bytes"), NumberOf(session, "sent_bytes"),
               keepalive ? absl::StrCat(keepalive) : "off");
}

struct AddOptions {
  std::string key, pool, preshared_key_file, expires_at;
  std::vector<std::string> allowed_ips, labels;
  int keepalive = 0;
  int64_t ttl_s = 0;
  bool pinned = false, json = false;
};

absl::StatusOr<std::string> BodyOf(const AddOptions& options) {
  json::object body;
  json::array& prefixes = body["allowed_ips"].emplace_array();
  for (const std::string& prefix : options.allowed_ips) prefixes.emplace_back(prefix);
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
  const auto answer = CallForPeer(**connection, "PUT", options.key, "", *body);
  if (!answer.ok()) return Fail(answer.status());
  if (options.json) {
    std::cout << answer->text;
  } else {
    const auto peer = json::parse(answer->text).get_object();
    std::cout << (answer->status == 201 ? "created" : "updated") << ": "
              << TextOf(peer, "public_key") << " on " << TextOf(peer, "device") << ", allowed ips "
              << AllowedIpsOf(peer) << "\n";
  }
  return kOk;
}

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

// What stands between this peer and a session, as far as the gateway can know.
// `status`: wicketd's; null when none runs.
std::vector<std::string> Reasons(const json::object& peer, const json::object* status) {
  std::vector<std::string> reasons;
  const absl::Time now = absl::Now();
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
        "it is installed and has not confirmed its session: the answer may not reach "
        "it (its firewall, or the route back), or its preshared key differs");
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

struct ListOptions {
  std::string label, prefix;
  bool installed = false, expired = false, json = false, dump = false;
};

int List(const ConnectionOptions& where, const ListOptions& options) {
  const auto connection = OpenTelling(where);
  if (!connection.ok()) return Fail(connection.status());
  const auto device = (*connection)->Device();
  if (!device.ok()) return Fail(device.status());
  std::string query = "?limit=1000";
  if (!options.label.empty()) absl::StrAppend(&query, "&label=", Escape(options.label));
  if (!options.prefix.empty()) absl::StrAppend(&query, "&prefix=", Escape(options.prefix));
  if (options.installed) query += "&installed=true";
  if (options.expired) query += "&expired=true";
  std::string cursor;
  bool first = true;
  do {
    const auto answer = (*connection)
                            ->Call("GET", PathOf(*device, "/peers") + query +
                                              (cursor.empty() ? "" : "&cursor=" + cursor));
    if (!answer.ok()) return Fail(answer.status());
    if (const auto error = ErrorOf(*answer); !error.ok()) return Fail(error);
    const auto page = json::parse(answer->text).get_object();
    for (const auto& item : page.at("peers").as_array()) {
      const json::object& peer = item.get_object();
      if (options.json) {
        std::cout << json::serialize(peer) << "\n";
      } else if (options.dump) {
        std::string preshared_key;
        if (peer.at("has_preshared_key").as_bool()) {
          const auto key = ParsePublicKey(TextOf(peer, "public_key"));
          const auto secret =
              (*connection)->Call("GET", PathOf(*device, "/peers/", &*key) + "?secrets=true");
          if (!secret.ok()) return Fail(secret.status());
          if (const auto error = ErrorOf(*secret); !error.ok()) return Fail(error);
          preshared_key = TextOf(json::parse(secret->text).get_object(), "preshared_key");
        }
        PrintDumpLine(peer, preshared_key);
      } else {
        if (!first) std::cout << "\n";
        PrintPeer(peer);
      }
      first = false;
    }
    cursor = TextOf(page, "next_cursor");
  } while (!cursor.empty() && std::cout);
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
  const auto with_key = [&](const char* name, const char* help) {
    CLI::App* command = peer->add_subcommand(name, help);
    AddConnectionOptions(command, &where);
    command->add_option("key", key, "the peer's public key")->check(CheckKey)->required();
    return command;
  };

  static AddOptions add;
  CLI::App* command = peer->add_subcommand("add", "create a peer, or replace what is stored of it");
  AddConnectionOptions(command, &where);
  command->add_option("key", add.key, "the peer's public key")->check(CheckKey)->required();
  command->add_option("--allowed-ips", add.allowed_ips, "addresses it may use")
      ->type_name("CIDR")
      ->delimiter(',');
  command->add_option("--allocate", add.pool, "take its addresses from a pool of wicketd's")
      ->type_name("POOL");
  command->add_option("--preshared-key-file", add.preshared_key_file, "file with a preshared key")
      ->type_name("FILE");
  command->add_option("--persistent-keepalive", add.keepalive, "seconds")
      ->check(CLI::Range(0, 65535));
  command->add_option("--ttl", add.ttl_s, "delete it after so many seconds")
      ->type_name("SECONDS")
      ->check(CLI::PositiveNumber);
  command->add_option("--expires-at", add.expires_at, "delete it then (RFC 3339)");
  command->add_option("--label", add.labels, "NAME=VALUE, any number of times");
  command->add_flag("--pinned", add.pinned, "once in the device, it stays");
  command->add_flag("--json", add.json, "print the stored peer as JSON");
  command->callback([run] { *run = [] { return Add(where, add); }; });

  command = peer->add_subcommand("rm", "delete peers, also from their device");
  AddConnectionOptions(command, &where);
  command->add_option("key", keys, "public keys")->check(CheckKey)->required();
  command->callback([run] { *run = [] { return Remove(where, keys); }; });

  command = with_key("show", "all that is known of a peer, but secrets");
  command->add_flag("--json", as_json, "print JSON");
  command->callback([run] { *run = [] { return Show(where, key, as_json); }; });

  command = with_key("why", "why a peer has a session, or none");
  command->add_flag("--json", as_json, "print JSON");
  command->callback([run] { *run = [] { return Why(where, key, as_json); }; });

  command = with_key("reset-replay", "forget the newest timestamp seen of a peer");
  command->callback([run] { *run = [] { return ResetReplay(where, key); }; });

  static ListOptions list;
  command = peer->add_subcommand("ls", "list stored peers");
  AddConnectionOptions(command, &where);
  command->add_option("--label", list.label, "only with this label")->type_name("NAME=VALUE");
  command->add_option("--prefix", list.prefix, "only with an allowed ip inside it")
      ->type_name("CIDR");
  command->add_flag("--installed", list.installed, "only those in the device");
  command->add_flag("--expired", list.expired, "only those whose time is over");
  auto* json_flag = command->add_flag("--json", list.json, "a JSON object a line");
  command->add_flag("--dump", list.dump, "lines as `wg show all dump` has them, preshared keys too")
      ->excludes(json_flag);
  command->callback([run] { *run = [] { return List(where, list); }; });
}

}  // namespace wicket::tools
