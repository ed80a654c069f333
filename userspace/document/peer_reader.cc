#include "document/peer_reader.h"

#include <strings.h>

#include <algorithm>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "document/peer_fields.h"
#include "document/peer_text.h"

namespace wicket::document {
namespace {

constexpr size_t kCommentBytesMax = 512;
constexpr size_t kKeyBase64Bytes = 44;

// The first word of a line that may hold a secret, if it looks like a key's name.
std::string Word(absl::string_view line) {
  constexpr size_t kNameMax = 24;
  size_t length = 0;
  while (length < line.size() && absl::ascii_isalpha(static_cast<unsigned char>(line[length]))) {
    ++length;
  }
  const bool ends = length == line.size() || line[length] == '=' || line[length] == ' ';
  if (length > 0 && length <= kNameMax && ends) return Quoted(line.substr(0, length));
  return absl::StrCat(line.size(), " characters (not shown)");
}

// Says whether a heading begins a [Peer]; [Interface] belongs to the device.
absl::StatusOr<bool> IsPeerHeading(absl::string_view line) {
  if (absl::EqualsIgnoreCase(line, "[Peer]")) return true;
  if (absl::EqualsIgnoreCase(line, "[Interface]")) return false;
  return absl::InvalidArgumentError(
      absl::StrCat("section ", Quoted(line), "; accepted: [Interface], [Peer]"));
}

absl::Status ReadAllowedIps(absl::string_view list, PeerConfig* config) {
  for (const absl::string_view part : absl::StrSplit(list, ',', absl::SkipWhitespace())) {
    WICKET_RETURN_IF_ERROR(ReadAllowedIp(absl::StripAsciiWhitespace(part), config));
  }
  return absl::OkStatus();
}

// Reads a line of a [Peer] section.
absl::Status ReadSetting(absl::string_view line, PeerConfig* config, bool* has_key) {
  const size_t equals = line.find('=');
  const absl::string_view name = absl::StripAsciiWhitespace(line.substr(0, equals));
  // The padding of a key whose "=" is missing ends in one.
  if (equals == absl::string_view::npos || name.find(' ') != absl::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(Word(line), " is not NAME = VALUE"));
  }
  const absl::string_view value = absl::StripAsciiWhitespace(line.substr(equals + 1));
  if (absl::EqualsIgnoreCase(name, "PublicKey")) {
    *has_key = true;
    return ReadPublicKey(value, config);
  }
  if (absl::EqualsIgnoreCase(name, "PresharedKey")) return ReadPresharedKey(value, config);
  if (absl::EqualsIgnoreCase(name, "AllowedIPs")) return ReadAllowedIps(value, config);
  if (absl::EqualsIgnoreCase(name, "PersistentKeepalive")) {
    int64_t seconds = 0;
    if (!absl::EqualsIgnoreCase(value, "off") && !absl::SimpleAtoi(value, &seconds)) seconds = -1;
    return ReadKeepalive(seconds, config);
  }
  if (absl::EqualsIgnoreCase(name, "Endpoint")) return absl::OkStatus();  // learned, not configured
  return absl::InvalidArgumentError(
      absl::StrCat("unknown key ", Word(name),
                   "; accepted: PublicKey, PresharedKey, AllowedIPs, PersistentKeepalive, "
                   "Endpoint (ignored)"));
}

bool IsLabelName(absl::string_view text) {
  return !text.empty() && text.size() <= store::kLabelNameBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' ||
                  c == '.';
         });
}

// Returns: an empty text for a comment that is to be no label.
std::pair<std::string, std::string> LabelOf(absl::string_view comment) {
  const size_t equals = comment.find('=');
  const absl::string_view name = absl::StripAsciiWhitespace(comment.substr(0, equals));
  for (const char* setting : {"PublicKey", "PresharedKey", "PrivateKey", "AllowedIPs", "Endpoint",
                              "PersistentKeepalive"}) {
    if (absl::EqualsIgnoreCase(name, setting)) return {};
  }
  for (absl::string_view word : absl::StrSplit(comment, absl::ByAnyChar(" \t=:"))) {
    if (word.size() == kKeyBase64Bytes - 1) return {};  // as long as a key without its padding
  }
  const bool is_pair = equals != comment.npos && IsLabelName(name);
  const absl::string_view text =
      is_pair ? absl::StripAsciiWhitespace(comment.substr(equals + 1)) : comment;
  size_t length = std::min(text.size(), store::kLabelTextBytesMax);
  // Not in the middle of a character.
  while (length > 0 && length < text.size() && (text[length] & 0xc0) == 0x80) --length;
  return {is_pair ? std::string(name) : "comment", Utf8Of(text.substr(0, length))};
}

}  // namespace

bool ReadBoundedLine(std::istream& input, std::string* line) {
  line->clear();
  std::streambuf* bytes = input.rdbuf();
  int c = bytes->sbumpc();
  if (c == EOF) return false;
  for (; c != EOF && c != '\n'; c = bytes->sbumpc()) {
    if (line->size() <= kLineBytesMax) line->push_back(static_cast<char>(c));
  }
  return true;
}

absl::Status PeerReader::Error(absl::string_view message) const {
  return absl::InvalidArgumentError(absl::StrCat("line ", line_, ": ", message));
}

// Takes the white space before the first peer, which both formats ignore.
void PeerReader::DetectFormat() {
  int c = input_->peek();
  for (; c == ' ' || c == '\n' || c == '\r' || c == '\t'; c = input_->peek()) {
    input_->get();
    ++bytes_;
    if (c == '\n') ++line_;
  }
  format_ = c == '{' || c == EOF ? Format::kNdjson : Format::kWgConf;
}

bool PeerReader::ReadLine(std::string* text) {
  if (!ReadBoundedLine(*input_, text)) return false;
  ++line_;
  bytes_ += text->size() + 1;
  return true;
}

absl::StatusOr<bool> PeerReader::Next(store::Peer* peer) {
  if (format_ == Format::kAuto) DetectFormat();
  absl::StatusOr<bool> read = format_ == Format::kNdjson ? NextJson(peer) : NextSection(peer);
  if (!read.ok() || !*read) return read;
  if (peer->device.empty()) peer->device = device_;
  if (peer->device.empty()) return Error("no device: name one with --device, or in each peer");
  return true;
}

absl::StatusOr<bool> PeerReader::NextJson(store::Peer* peer) {
  std::string text;
  do {
    if (!ReadLine(&text)) return false;
    if (text.size() > kLineBytesMax) return Error("longer than 1 MiB");
  } while (absl::StripAsciiWhitespace(text).empty());
  absl::StatusOr<store::Peer> parsed = ParsePeerJson(text);
  explicit_bzero(text.data(), text.size());
  if (!parsed.ok()) return Error(parsed.status().message());
  *peer = std::move(*parsed);
  return true;
}

absl::StatusOr<bool> PeerReader::NextSection(store::Peer* peer) {
  *peer = {};
  bool has_key = false;
  std::string text;
  while (ReadLine(&text)) {
    absl::string_view line = absl::StripAsciiWhitespace(text);
    if (absl::ConsumePrefix(&line, "#")) {
      if (comments_.size() < store::kLabelsMax) {
        comments_.emplace_back(absl::StripAsciiWhitespace(line).substr(0, kCommentBytesMax));
      }
      continue;
    }
    line = absl::StripAsciiWhitespace(line.substr(0, line.find('#')));
    if (line.empty() || line.front() != '[') TakeComments(peer);
    if (line.empty()) continue;
    if (line.front() == '[') {
      const absl::StatusOr<bool> is_peer = IsPeerHeading(line);
      if (!is_peer.ok()) return Error(is_peer.status().message());
      seen_section_ = true;
      const uint64_t begun = std::exchange(peer_begun_, *is_peer ? line_ : 0);
      if (begun == 0) continue;
      WICKET_RETURN_IF_ERROR(EndSection(begun, has_key));
      peer_line_ = begun;
      return true;
    }
    if (!seen_section_) {
      return Error(
          absl::StrCat("found ", Word(line),
                       "; accepted: NDJSON, one peer a line, or a WireGuard configuration"));
    }
    if (peer_begun_ == 0) continue;
    const absl::Status status = ReadSetting(line, &peer->config, &has_key);
    explicit_bzero(text.data(), text.size());  // it may be a preshared key
    if (!status.ok()) return Error(status.message());
  }
  TakeComments(peer);
  const uint64_t begun = std::exchange(peer_begun_, 0);
  if (begun == 0) return false;
  WICKET_RETURN_IF_ERROR(EndSection(begun, has_key));
  peer_line_ = begun;
  return true;
}

// "# name = value" becomes a label of that name, and the first other comment the label "comment". A
// setting that was commented out becomes none, nor does what is as long as a key: it may be secret.
void PeerReader::TakeComments(store::Peer* peer) {
  for (const std::string& comment : std::exchange(comments_, {})) {
    if (peer_begun_ == 0) continue;
    std::pair<std::string, std::string> label = LabelOf(comment);
    const auto same_name = [&](const auto& other) { return other.first == label.first; };
    if (label.second.empty() || peer->labels.size() == store::kLabelsMax ||
        std::any_of(peer->labels.begin(), peer->labels.end(), same_name)) {
      continue;
    }
    peer->labels.push_back(std::move(label));
  }
}

absl::Status PeerReader::EndSection(uint64_t begun, bool has_key) const {
  if (has_key) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("line ", begun, ": [Peer] without a PublicKey"));
}

}  // namespace wicket::document
