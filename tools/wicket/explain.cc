#include <pcap/pcap.h>
#include <sys/stat.h>

#include <boost/json.hpp>
#include <fstream>
#include <iostream>
#include <optional>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "guard/replay.h"
#include "noise/responder.h"
#include "intake/verdict.h"
#include "store/store.h"
#include "tools/wicket/commands.h"

namespace wicket::tools {
namespace {

using ByteVector = std::vector<uint8_t>;

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
  std::string verdict;
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

void Conclude(Explanation* out, intake::Verdict verdict) {
  out->verdict = intake::ToString(verdict);
}

// The part that needs the store: known, in time, newer.
void ExplainStored(const Context& context, Explanation* out) {
  const auto peer = context.snapshot->FindPeer(*out->static_public_key);
  out->stored = peer.ok() && (context.device.empty() || peer->device == context.device);
  out->steps.push_back(absl::StrCat("stored: ", *out->stored ? "yes" : "no"));
  if (!*out->stored) return Conclude(out, intake::Verdict::kUnknownPeer);
  if (!out->proven) return;
  if (peer->expires <= absl::Now()) {
    out->steps.push_back(absl::StrCat("expired at ", absl::FormatTime(peer->expires)));
    return Conclude(out, intake::Verdict::kExpired);
  }
  const auto session = context.snapshot->FindSession(*out->static_public_key);
  out->timestamp_newer = !session || guard::IsFresh(session->mark, *out->timestamp, absl::Now());
  out->steps.push_back(
      absl::StrCat("timestamp newer than the last one: ", *out->timestamp_newer ? "yes" : "no"));
  if (!*out->timestamp_newer) Conclude(out, intake::Verdict::kReplay);
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

// The UDP payload of a frame that classify() does not take; empty when there is none.
std::span<const uint8_t> FindUdpPayload(std::span<const uint8_t> frame) {
  size_t at = 14;
  if (frame.size() < at) return {};
  auto type = static_cast<uint16_t>(frame[12] << 8 | frame[13]);
  while ((type == 0x8100 || type == 0x88a8) && frame.size() >= at + 4) {
    type = static_cast<uint16_t>(frame[at + 2] << 8 | frame[at + 3]);
    at += 4;
  }
  if (type == 0x0800 && frame.size() >= at + 20 && frame[at + 9] == 17) {
    at += static_cast<size_t>(frame[at] & 15) * 4;
  } else if (type == 0x86dd && frame.size() >= at + 40 && frame[at + 6] == 17) {
    at += 40;
  } else {
    return {};
  }
  if (frame.size() < at + 8) return {};
  const size_t udp_bytes = static_cast<size_t>(frame[at + 4] << 8 | frame[at + 5]);
  if (udp_bytes < 8 || frame.size() < at + udp_bytes) return {};
  return frame.subspan(at + 8, udp_bytes - 8);
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
  object["verdict"] = one.verdict;
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
                 one.verdict);
    for (const std::string& step : one.steps) absl::PrintF("  %s\n", step);
  }
}

absl::StatusOr<ByteVector> ParseHex(absl::string_view text) {
  std::string digits;
  for (char c : text) {
    if (absl::ascii_isxdigit(static_cast<unsigned char>(c))) {
      digits.push_back(c);
    } else if (!absl::ascii_isspace(static_cast<unsigned char>(c)) && c != ':') {
      return absl::InvalidArgumentError(
          absl::StrCat("--hex: found '", std::string(1, c), "'; accepted: hexadecimal digits"));
    }
  }
  if (digits.empty() || digits.size() % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--hex: found ", digits.size(), " digits; accepted: an even number, not 0"));
  }
  const std::string bytes = absl::HexStringToBytes(digits);
  return ByteVector(bytes.begin(), bytes.end());
}

// Turns a captured packet into an Ethernet frame. Returns: empty for links we do not know.
ByteVector ToEthernet(int link, std::span<const uint8_t> packet) {
  const auto with_header = [](std::span<const uint8_t> ip) {
    ByteVector frame(14);
    const bool v6 = !ip.empty() && ip[0] >> 4 == 6;
    frame[12] = v6 ? 0x86 : 0x08;
    frame[13] = v6 ? 0xdd : 0x00;
    frame.insert(frame.end(), ip.begin(), ip.end());
    return frame;
  };
  const auto skip = [&](size_t n) {
    return packet.size() < n ? std::span<const uint8_t>() : packet.subspan(n);
  };
  switch (link) {
    case DLT_EN10MB:
      return {packet.begin(), packet.end()};
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6:
      return with_header(packet);
    case DLT_NULL:
    case DLT_LOOP:
      return with_header(skip(4));
    case DLT_LINUX_SLL:
      return with_header(skip(16));
#ifdef DLT_LINUX_SLL2
    case DLT_LINUX_SLL2:
      return with_header(skip(20));
#endif
    default:
      return {};
  }
}

absl::StatusOr<std::vector<Explanation>> ExplainPcap(const Context& context,
                                                     const std::string& path) {
  char error[PCAP_ERRBUF_SIZE] = {};
  const std::unique_ptr<pcap_t, decltype(&pcap_close)> file(pcap_open_offline(path.c_str(), error),
                                                            pcap_close);
  if (!file) return absl::InvalidArgumentError(absl::StrCat("--pcap ", path, ": ", error));
  const int link = pcap_datalink(file.get());
  if (ToEthernet(link, ByteVector(64)).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--pcap ", path, ": link type ", link,
                     "; accepted: Ethernet, raw IP, Linux cooked, loopback"));
  }
  std::vector<Explanation> all;
  pcap_pkthdr* header;
  const u_char* data;
  int result;
  while ((result = pcap_next_ex(file.get(), &header, &data)) == 1) {
    const ByteVector frame = ToEthernet(link, {data, header->caplen});
    all.push_back(ExplainFrame(context, frame));
    all.back().number = all.size();
  }
  if (result == PCAP_ERROR) {
    return absl::InvalidArgumentError(absl::StrCat("--pcap ", path, ": after packet ", all.size(),
                                                   ": ", pcap_geterr(file.get())));
  }
  return all;
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
  if (!options.pcap.empty()) return ExplainPcap(context, options.pcap);
  WICKET_ASSIGN_OR_RETURN(const ByteVector bytes, ParseHex(options.hex));
  Explanation one =
      FindUdpPayload(bytes).empty() ? ExplainMessage(context, bytes) : ExplainFrame(context, bytes);
  one.number = 1;
  std::vector<Explanation> all;
  all.push_back(std::move(one));
  return all;
}

}  // namespace

int Explain(const ExplainOptions& options) {
  const auto all = ExplainAll(options);
  if (!all.ok()) {
    std::cerr << "wicket: explain: " << all.status().message() << "\n";
    return kUsage;
  }
  Print(*all, options.json);
  return kOk;
}

}  // namespace wicket::tools
