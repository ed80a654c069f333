// wicket conf: what a client's device needs, as a file or a picture of one.
#include <qrencode.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <algorithm>
#include <fstream>
#include <iostream>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/address.h"
#include "crypto/curve25519.h"
#include "tools/wicket/commands.h"
#include "tools/wicket/connection.h"
#include "tools/wicket/peer_view.h"
#include "tools/wicket/text.h"

namespace wicket::tools {
namespace {

namespace json = boost::json;

struct ConfOptions {
  ConnectionOptions where;
  std::string key, private_key_file, endpoint, dns, device_public_key;
  std::vector<std::string> allowed_ips;
  uint16_t keepalive = 0;
  bool qr = false;
};

// What a client must know of the gateway's device.
struct GatewayDevice {
  std::string public_key;
  uint64_t port = 0;  // 0: not known
};

// Asks a running daemon for what the options leave open.
absl::StatusOr<GatewayDevice> FindDevice(Connection& connection, const std::string& name,
                                         const ConfOptions& options) {
  GatewayDevice found{.public_key = options.device_public_key};
  if (connection.online()) {
    WICKET_ASSIGN_OR_RETURN(const Answer status, connection.Call("GET", "/v1/status"));
    WICKET_RETURN_IF_ERROR(ErrorOf(status));
    const json::value parsed = json::parse(status.text);
    for (const auto& device : parsed.at("devices").as_array()) {
      if (device.at("name").as_string() != name.c_str()) continue;
      if (found.public_key.empty()) {
        found.public_key = std::string(device.at("public_key").as_string());
      }
      found.port = device.at("port").to_number<uint64_t>();
    }
  }
  if (!found.public_key.empty()) return found;
  return absl::InvalidArgumentError(
      "the device's public key is not known here: give it with --device-public-key");
}

// The client's private key, or what is to be filled in there.
absl::StatusOr<std::string> PrivateKeyLine(const std::string& public_key,
                                           const ConfOptions& options) {
  if (options.private_key_file.empty()) {
    return "# the private key that belongs to " + options.key;
  }
  std::ifstream file(options.private_key_file);
  if (!file) return ErrnoStatus(errno, absl::StrCat("open(", options.private_key_file, ")"));
  std::string private_key;
  std::getline(file, private_key);
  const auto parsed = ParseSecretKey(private_key);
  if (!parsed) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.private_key_file, ": holds no private key"));
  }
  WICKET_RETURN_IF_ERROR(crypto::Initialize());
  if (ToBase64(crypto::DerivePublicKey(*parsed)) != public_key) {
    return absl::InvalidArgumentError(
        absl::StrCat(options.private_key_file, ": is another peer's private key"));
  }
  return private_key;
}

// Everything, by the IP versions that the peer has addresses of: a client without an IPv6 address
// would lose its own IPv6 to a route into the tunnel.
std::string Everything(const json::object& peer) {
  bool ipv4 = false, ipv6 = false;
  for (const json::value& text : peer.at("allowed_ips").as_array()) {
    const auto prefix = ParsePrefix(std::string(text.as_string()));
    if (!prefix) continue;
    (prefix->address.family == Family::kIpv6 ? ipv6 : ipv4) = true;
  }
  return ipv4 == ipv6 ? "0.0.0.0/0, ::/0" : ipv4 ? "0.0.0.0/0" : "::/0";
}

// Empty: it is one.
std::string CheckPrefix(const std::string& text) {
  return ParsePrefix(text) ? "" : absl::StrCat(text, ": accepted: ADDRESS[/LENGTH]");
}

// They go into a file of lines.
std::string CheckWords(const std::string& text) {
  const bool printable = std::all_of(text.begin(), text.end(), [](char c) {
    return absl::ascii_isprint(static_cast<unsigned char>(c));
  });
  return printable && !text.empty() ? "" : "accepted: addresses and search domains, with commas";
}

std::string CheckEndpoint(const std::string& text) {
  constexpr char kAccepted[] = ": accepted: HOST, HOST:PORT, an address, or [ADDRESS]:PORT";
  if (ParseAddress(text) || ParseEndpoint(text)) return "";
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  uint32_t port = 1;
  // A name of digits and dots would be taken for an address.
  const bool digits = parts[0].find_first_not_of("0123456789.") == std::string::npos;
  const bool host = !digits && std::all_of(parts[0].begin(), parts[0].end(), [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.';
  });
  const bool right =
      host && parts.size() <= 2 &&
      (parts.size() < 2 || (absl::SimpleAtoi(parts[1], &port) && port != 0 && port <= 65535));
  return right ? "" : absl::StrCat(text, kAccepted);
}

// Adds brackets and the device's port where they are left out.
absl::StatusOr<std::string> EndpointOf(std::string endpoint, uint64_t port) {
  if (const auto address = ParseAddress(endpoint); address && address->family == Family::kIpv6) {
    endpoint = absl::StrCat("[", endpoint, "]");
  }
  if (!endpoint.ends_with("]") && endpoint.find(':') != endpoint.npos) return endpoint;
  if (port == 0) {
    return absl::InvalidArgumentError(
        "--endpoint: the device's port is not known here: accepted: HOST:PORT");
  }
  return absl::StrCat(endpoint, ":", port);
}

// A configuration that gets nothing through is printed all the same; it may be wanted for later.
void TellOfUseless(const json::object& peer) {
  if (peer.at("allowed_ips").as_array().empty()) {
    std::cerr << "wicket: note: the peer has no allowed ips: what it sends is dropped\n";
  }
  if (Expired(peer)) std::cerr << "wicket: note: the peer has expired: it is refused\n";
}

absl::StatusOr<std::string> ClientConf(Connection& connection, const ConfOptions& options) {
  WICKET_ASSIGN_OR_RETURN(const Answer answer,
                          CallForPeer(connection, "GET", options.key, "?secrets=true"));
  const json::object peer = json::parse(answer.text).get_object();
  WICKET_ASSIGN_OR_RETURN(const GatewayDevice device,
                          FindDevice(connection, TextOf(peer, "device"), options));
  WICKET_ASSIGN_OR_RETURN(const std::string private_key,
                          PrivateKeyLine(TextOf(peer, "public_key"), options));
  WICKET_ASSIGN_OR_RETURN(const std::string endpoint, EndpointOf(options.endpoint, device.port));
  TellOfUseless(peer);
  std::string conf = absl::StrCat("[Interface]\nPrivateKey = ", private_key, "\n");
  if (!peer.at("allowed_ips").as_array().empty()) {
    absl::StrAppend(&conf, "Address = ", AllowedIpsOf(peer), "\n");
  }
  if (!options.dns.empty()) absl::StrAppend(&conf, "DNS = ", options.dns, "\n");
  absl::StrAppend(&conf, "\n[Peer]\nPublicKey = ", device.public_key, "\n");
  if (const std::string preshared_key = TextOf(peer, "preshared_key"); !preshared_key.empty()) {
    absl::StrAppend(&conf, "PresharedKey = ", preshared_key, "\n");
  }
  absl::StrAppend(
      &conf, "AllowedIPs = ",
      options.allowed_ips.empty() ? Everything(peer) : absl::StrJoin(options.allowed_ips, ", "),
      "\nEndpoint = ", endpoint, "\n");
  if (options.keepalive) absl::StrAppend(&conf, "PersistentKeepalive = ", options.keepalive, "\n");
  return conf;
}

// Two rows of modules a line, in half blocks; dark on light, with the quiet zone that
// readers need.
bool PrintQr(const std::string& text) {
  const std::unique_ptr<QRcode, void (*)(QRcode*)> code(
      QRcode_encodeString8bit(text.c_str(), 0, QR_ECLEVEL_L), QRcode_free);
  if (!code) return false;
  constexpr int kQuiet = 2;
  const auto dark = [&](int x, int y) {
    return x >= 0 && y >= 0 && x < code->width && y < code->width &&
           (code->data[y * code->width + x] & 1);
  };
  for (int y = -kQuiet; y < code->width + kQuiet; y += 2) {
    std::cout << "\x1b[30;47m";
    for (int x = -kQuiet; x < code->width + kQuiet; ++x) {
      const bool top = dark(x, y), bottom = dark(x, y + 1);
      std::cout << (top && bottom ? "█" : top ? "▀" : bottom ? "▄" : " ");
    }
    std::cout << "\x1b[0m\n";
  }
  return true;
}

int Conf(const ConfOptions& options) {
  const auto connection = OpenTelling(options.where);
  if (!connection.ok()) return Fail(connection.status());
  const auto conf = ClientConf(**connection, options);
  if (!conf.ok()) return Fail(conf.status());
  if (!options.qr) {
    std::cout << *conf;
  } else if (!PrintQr(*conf)) {
    return Fail(absl::InvalidArgumentError("the configuration is too long for a QR code"));
  }
  return kOk;
}

}  // namespace

void AddConfCommand(CLI::App* app, std::function<int()>* run) {
  static ConfOptions options;
  CLI::App* command = app->add_subcommand("conf", "print a client's configuration");
  AddConnectionOptions(command, &options.where);
  command->add_option("key", options.key, "the peer's public key")->check(CheckKey)->required();
  command->add_option("--endpoint", options.endpoint, "where clients reach the gateway")
      ->type_name("HOST[:PORT]")
      ->check(CheckEndpoint)
      ->required();
  auto* private_key =
      command->add_option("--private-key-file", options.private_key_file,
                          "the client's private key; without it the line is left to be filled in");
  private_key->type_name("FILE");
  command
      ->add_option("--device-public-key", options.device_public_key,
                   "of the gateway's device, for when no wicketd runs")
      ->check(CheckKey);
  command
      ->add_option(
          "--allowed-ips", options.allowed_ips,
          "what the client sends to the gateway, with commas; otherwise everything, by the "
          "IP versions that it has addresses of")
      ->type_name("PREFIXES")
      ->delimiter(',')
      ->transform(Trim)
      ->check(CheckPrefix);
  command->add_option("--dns", options.dns, "name servers of the client")->check(CheckWords);
  command
      ->add_option("--persistent-keepalive", options.keepalive,
                   "seconds; 0: off. A client that sends one is never idle, and stays installed")
      ->type_name("SECONDS")
      ->capture_default_str();
  command->add_flag("--qr", options.qr, "print a QR code")->needs(private_key);
  command->callback([run] { *run = [] { return Conf(options); }; });
}

}  // namespace wicket::tools
