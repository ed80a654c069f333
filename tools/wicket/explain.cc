// wicket explain: what the gateway would make of captured packets.
#include <sys/stat.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <iostream>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/clock.h"
#include "guard/replay.h"
#include "noise/responder.h"
#include "intake/verdict.h"
#include "store/store.h"
#include "tools/wicket/capture.h"
#include "tools/wicket/commands.h"

namespace wicket::tools {
namespace {

struct ExplainOptions {
  std::string hex;
  std::string pcap;
  std::string private_key_file;
  std::string store;   // empty: none
  std::string device;  // with a store: the device the packets are for; empty: any
  bool json = false;
};

// What is known of one packet; a null means "not reached" or "does not apply".
struct Explanation {
  uint64_t number = 0;
  std::string type;
  size_t bytes = 0;
  std::string source;
  std::optional<bool> mac1_valid;
  std::optional<PublicKey> static_public_key;
  std::optional<Tai64n> timestamp;
  bool proven = false;
  std::optional<bool> stored;
  std::optional<bool> timestamp_newer;
  std::optional<bool> over_quota;
  std::optional<intake::Verdict> verdict;
  std::vector<std::string> steps;
};

struct Context {
  crypto::Locked<noise::Identity> identity;
  std::optional<store::Store> store;
  std::optional<store::Snapshot> snapshot;
  std::string device;
};

std::string Hex(const uint8_t* data, size_t bytes) {
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(data), bytes));
}

// Of several verdicts the first counts, in the order of the gateway's checks.
void Conclude(Explanation* out, intake::Verdict verdict) {
  out->verdict = out->verdict ? std::min(*out->verdict, verdict) : verdict;
}

// The part that needs the store: known, in time, newer.
void ExplainStored(const Context& context, Explanation* out) {
  const auto peer = context.snapshot->FindPeer(*out->static_public_key);
  out->stored = peer.ok() && (context.device.empty() || peer->device == context.device);
  out->steps.push_back(absl::StrCat("stored: ", *out->stored ? "yes" : "no"));
  if (!*out->stored) return Conclude(out, intake::Verdict::kUnknownPeer);
  if (peer->expires <= WallNow()) {
    out->steps.push_back(absl::StrCat("expired at ", absl::FormatTime(peer->expires)));
    return Conclude(out, intake::Verdict::kExpired);
  }
  if (!out->proven) return;
  const auto session = context.snapshot->FindSession(*out->static_public_key);
  out->timestamp_newer = !session || guard::IsFresh(session->mark, *out->timestamp, InstantNow());
  out->steps.push_back(
      absl::StrCat("timestamp newer than the last one: ", *out->timestamp_newer ? "yes" : "no"));
  if (!*out->timestamp_newer) Conclude(out, intake::Verdict::kReplay);
  out->over_quota = session && store::UsedUp(peer->quota, *session, WallNow());
  if (*out->over_quota) {
    out->steps.push_back("quota: the bytes of its period are used up, so it is not installed");
  }
}

void ExplainInitiation(const Context& context, const wire::Initiation& message, Explanation* out) {
  const noise::Identity& self = *context.identity;
  out->mac1_valid = noise::CheckMac1(self, message);
  out->steps.push_back(absl::StrCat(
      "mac1: ", *out->mac1_valid ? "made for this key" : "wrong: made for another key, or forged"));
  if (!*out->mac1_valid) return Conclude(out, intake::Verdict::kBadMac1);
  auto claim = noise::OpenStatic(self, message);
  if (!claim) {
    out->steps.push_back("e, es, s: the static key does not decrypt");
    return Conclude(out, intake::Verdict::kBadStatic);
  }
  out->static_public_key = claim->static_public;
  out->steps.push_back(absl::StrCat("e, es, s: claims to be ", ToBase64(claim->static_public)));
  out->timestamp = noise::OpenTimestamp(self, std::move(*claim), message);
  out->proven = out->timestamp.has_value();
  if (out->proven) {
    out->steps.push_back(
        absl::StrCat("ss, t: proven; sent at ", absl::FormatTime(FromTai64n(*out->timestamp))));
    Conclude(out, intake::Verdict::kProven);
  } else {
    out->steps.push_back("ss, t: not proven: the sender does not hold that key");
    Conclude(out, intake::Verdict::kNotProven);
  }
  if (context.snapshot) ExplainStored(context, out);
}

std::string TypeName(std::span<const uint8_t> message) {
  const bool reserved_zero =
      message.size() >= 4 && message[1] == 0 && message[2] == 0 && message[3] == 0;
  if (!reserved_zero) return "other";
  switch (message[0]) {
    case 1:
      return message.size() == sizeof(wire::Initiation) ? "initiation" : "invalid";
    case 2:
      return message.size() == sizeof(wire::Response) ? "response" : "invalid";
    case 3:
      return message.size() == sizeof(wire::CookieReply) ? "cookie_reply" : "invalid";
    case 4:
      return message.size() >= wire::kDataBytesMin ? "data" : "invalid";
    default:
      return "other";
  }
}

// Explains a UDP payload.
Explanation ExplainMessage(const Context& context, std::span<const uint8_t> message) {
  Explanation out;
  out.type = TypeName(message);
  out.bytes = message.size();
  out.steps.push_back(absl::StrCat("type: ", out.type, ", ", out.bytes, " bytes"));
  if (out.type == "initiation") {
    ExplainInitiation(context, *reinterpret_cast<const wire::Initiation*>(message.data()), &out);
    return out;
  }
  if (out.type == "response") {
    const auto& response = *reinterpret_cast<const wire::Response*>(message.data());
    const crypto::Mac mac =
        crypto::MacOf(context.identity->mac1_key(), BytesBefore(response, response.mac1));
    out.mac1_valid = crypto::Equal(mac.data(), response.mac1.data(), mac.size());
    out.steps.push_back(
        absl::StrCat("mac1: ", *out.mac1_valid ? "made for this key" : "made for another key"));
  }
  out.steps.push_back(message.size() >= 4 && out.type == "invalid" && message[0] == 1
                          ? "type 1 of a wrong length: dropped, as WireGuard would"
                          : "not an initiation: passes to the kernel");
  Conclude(&out, intake::Verdict::kNotAnInitiation);
  return out;
}

Explanation ExplainFrame(const Context& context, std::span<const uint8_t> frame) {
  wire::Frame parsed;
  if (wire::ParseFrame(frame, &parsed)) {
    Explanation out = ExplainMessage(
        context, {reinterpret_cast<const uint8_t*>(parsed.initiation), sizeof(wire::Initiation)});
    out.source = ToString(parsed.source);
    return out;
  }
  const std::span<const uint8_t> payload = FindUdpPayload(frame);
  if (!payload.empty()) {
    Explanation out = ExplainMessage(context, payload);
    if (out.type == "initiation") {
      out.steps.push_back("but its headers are not ones the program steers: passes to the kernel");
      Conclude(&out, intake::Verdict::kNotAnInitiation);
    }
    return out;
  }
  Explanation out;
  out.type = "other";
  out.bytes = frame.size();
  out.steps.push_back("not UDP: passes to the kernel");
  Conclude(&out, intake::Verdict::kNotAnInitiation);
  return out;
}

boost::json::object ToJson(const Explanation& one) {
  boost::json::object object;
  const auto put = [&](const char* name, const std::optional<bool>& value) {
    if (value) {
      object[name] = *value;
    } else {
      object[name] = nullptr;
    }
  };
  object["packet"] = one.number;
  object["type"] = one.type;
  object["bytes"] = one.bytes;
  if (!one.source.empty()) object["source"] = one.source;
  put("mac1_valid", one.mac1_valid);
  object["static_public_key"] = nullptr;
  if (one.static_public_key) object["static_public_key"] = ToBase64(*one.static_public_key);
  object["timestamp"] = nullptr;
  if (one.timestamp) object["timestamp"] = Hex(one.timestamp->data(), one.timestamp->size());
  object["proven"] = one.proven;
  put("stored", one.stored);
  put("timestamp_newer", one.timestamp_newer);
  put("over_quota", one.over_quota);
  object["verdict"] = intake::ToString(*one.verdict);
  return object;
}

void Print(const std::vector<Explanation>& all, bool json) {
  if (json) {
    boost::json::array packets;
    for (const Explanation& one : all) packets.push_back(ToJson(one));
    boost::json::object object;
    object["packets"] = std::move(packets);
    std::cout << boost::json::serialize(object) << "\n";
    return;
  }
  for (const Explanation& one : all) {
    absl::PrintF("packet %d%s%s: %s\n", one.number, one.source.empty() ? "" : " from ", one.source,
                 intake::ToString(*one.verdict));
    for (const std::string& step : one.steps) absl::PrintF("  %s\n", step);
  }
}

absl::StatusOr<Secret<kKeyBytes>> ReadPrivateKey(const std::string& path) {
  std::ifstream file(path);
  std::string text;
  if (!file || !std::getline(file, text)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--private-key-file ", path, ": cannot be read"));
  }
  struct stat info;
  if (stat(path.c_str(), &info) == 0 && S_ISREG(info.st_mode) && (info.st_mode & 0077) != 0) {
    std::cerr << "wicket: warning: " << path << " is readable by others\n";
  }
  auto key = ParseSecretKey(absl::StripAsciiWhitespace(text));
  explicit_bzero(text.data(), text.size());
  if (!key) {
    return absl::InvalidArgumentError(
        absl::StrCat("--private-key-file ", path,
                     ": its first line is not a private key; accepted: "
                     "44 characters of base64, as `wg genkey` prints"));
  }
  return std::move(*key);
}

absl::StatusOr<std::vector<Explanation>> ExplainAll(const ExplainOptions& options) {
  WICKET_RETURN_IF_ERROR(crypto::Initialize());
  Context context;
  context.device = options.device;
  WICKET_ASSIGN_OR_RETURN(const Secret<kKeyBytes> key, ReadPrivateKey(options.private_key_file));
  context.identity = crypto::Locked<noise::Identity>::Make(key);
  if (!context.identity) return absl::ResourceExhaustedError("locking memory: refused");
  if (!options.store.empty()) {
    WICKET_ASSIGN_OR_RETURN(context.store,
                            store::Store::Open({.path = options.store, .create = false}));
    WICKET_ASSIGN_OR_RETURN(context.snapshot, context.store->NewSnapshot());
  }
  std::vector<Explanation> all;
  if (!options.pcap.empty()) {
    WICKET_RETURN_IF_ERROR(ReadCapture(options.pcap, [&](std::span<const uint8_t> frame) {
      all.push_back(ExplainFrame(context, frame));
      all.back().number = all.size();
    }));
    return all;
  }
  WICKET_ASSIGN_OR_RETURN(const ByteVector bytes, ParseHex(options.hex));
  Explanation one =
      FindUdpPayload(bytes).empty() ? ExplainMessage(context, bytes) : ExplainFrame(context, bytes);
  one.number = 1;
  all.push_back(std::move(one));
  return all;
}

// Says of each packet what the gateway would make of it.
int Explain(const ExplainOptions& options) {
  const auto all = ExplainAll(options);
  if (!all.ok()) {
    std::cerr << "wicket: explain: " << all.status().message() << "\n";
    return kUsage;
  }
  Print(*all, options.json);
  return kOk;
}

}  // namespace

void AddExplainCommand(CLI::App* app, std::function<int()>* run) {
  static ExplainOptions options;
  CLI::App* command = app->add_subcommand(
      "explain", "what the gateway would make of captured packets, step by step");
  auto* input = command->add_option_group("input");
  input->add_option("--hex", options.hex, "one message: the UDP payload, or a whole frame")
      ->type_name("HEX");
  input->add_option("--pcap", options.pcap, "a capture (pcap or pcapng)")->type_name("FILE");
  input->require_option(1);
  command
      ->add_option("--private-key-file", options.private_key_file,
                   "the device's private key, as `wg genkey` prints it")
      ->type_name("FILE")
      ->required();
  command
      ->add_option("--store", options.store,
                   "also say whether the peer is stored and the timestamp new")
      ->type_name("DIR");
  command->add_option("--device", options.device, "the device the packets are for")
      ->type_name("NAME");
  command->add_flag("--json", options.json, "print JSON");
  command->callback([run] { *run = [] { return Explain(options); }; });
}

}  // namespace wicket::tools
