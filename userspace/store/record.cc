#include "store/record.h"

#include <endian.h>
#include <string.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <set>

#include "absl/strings/str_cat.h"

namespace wicket::store {
namespace {

constexpr size_t kFewPrefixes = 16;

static_assert(std::endian::native == std::endian::little, "records are read in place");

constexpr uint8_t kPeerVersion = 1;
constexpr uint8_t kSessionVersion = 3;
constexpr uint8_t kFlagPresharedKey = 1;
constexpr uint8_t kFlagPinned = 2;
constexpr uint8_t kFlagQuota = 4;
constexpr size_t kQuotaBytes = 12;
constexpr size_t kCrcOffset = 4;
constexpr size_t kPeerHeaderBytes = 28;
constexpr uint8_t kEstimated = 1;
constexpr uint8_t kLowered = 2;
constexpr size_t kSessionBytes = 136;
// Of older formats.
constexpr uint8_t kSessionVersionWithoutBoot = 1, kSessionVersionWithoutPeriod = 2;
constexpr size_t kSessionBytesWithoutBoot = 104, kSessionBytesWithoutPeriod = 120;

template <typename T>
T Get(absl::string_view bytes, size_t offset) {
  T value;
  memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

template <typename T>
void Set(std::string* bytes, size_t offset, T value) {
  memcpy(bytes->data() + offset, &value, sizeof(value));
}

uint32_t Checksum(const PublicKey& key, absl::string_view value) {
  const auto* bytes = reinterpret_cast<const Bytef*>(value.data());
  const Bytef zero[4] = {};
  uLong crc = crc32(0, key.bytes.data(), kKeyBytes);
  crc = crc32(crc, bytes, kCrcOffset);
  crc = crc32(crc, zero, sizeof(zero));
  crc = crc32(crc, bytes + kCrcOffset + 4, static_cast<uInt>(value.size() - kCrcOffset - 4));
  return static_cast<uint32_t>(crc);
}

bool Verify(const PublicKey& key, absl::string_view value, uint8_t version, size_t bytes_min) {
  return value.size() >= bytes_min && static_cast<uint8_t>(value[0]) == version &&
         Get<uint32_t>(value, kCrcOffset) == Checksum(key, value);
}

absl::Time ExpiresAt(int64_t unix_s) {
  return unix_s == 0 ? absl::InfiniteFuture() : absl::FromUnixSeconds(unix_s);
}

// 0 says never, so whatever lies before 1970 has expired in its first second.
int64_t ExpiresUnixSeconds(absl::Time expires) {
  return std::max(int64_t{1}, absl::ToUnixSeconds(expires));
}

void AppendAddress(std::string* out, const Address& address) {
  out->append(reinterpret_cast<const char*>(address.bytes.data()), address.size());
}

size_t AddressBytes(uint8_t family) { return family == 4 ? 4 : family == 6 ? 16 : 0; }

// Says whether the format can hold every field.
absl::Status CheckFields(const Peer& peer) {
  if (peer.device.empty() || peer.device.size() > kDeviceNameBytesMax) {
    return absl::InvalidArgumentError(
        absl::StrCat("device name \"", peer.device, "\" is not 1 to 15 bytes"));
  }
  if (peer.config.allowed_ips.size() > kAllowedIpsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(peer.config.allowed_ips.size(), " allowed ips; at most ", kAllowedIpsMax));
  }
  if (peer.labels.size() > kLabelsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(peer.labels.size(), " labels; at most ", kLabelsMax));
  }
  for (const auto& [name, text] : peer.labels) {
    const bool zero = name.find('\0') != name.npos || text.find('\0') != text.npos;
    if (name.empty() || name.size() > kLabelNameBytesMax || text.size() > kLabelTextBytesMax ||
        zero) {
      return absl::InvalidArgumentError(absl::StrCat("label \"", name, "\": names are 1 to ",
                                                     kLabelNameBytesMax, " bytes, values at most ",
                                                     kLabelTextBytesMax, ", without a zero byte"));
    }
  }
  return absl::OkStatus();
}

// Appends each prefix once: a device keeps a prefix once, and is compared with the record.
// Returns: how many it appended.
uint16_t AppendAllowedIps(std::string* out, const std::vector<Prefix>& allowed_ips) {
  uint16_t distinct = 0;
  std::set<Prefix> seen;  // of a peer with many; few are compared one by one
  for (auto it = allowed_ips.begin(); it != allowed_ips.end(); ++it) {
    const Prefix& prefix = *it;
    const bool again = allowed_ips.size() > kFewPrefixes
                           ? !seen.insert(prefix).second
                           : std::find(allowed_ips.begin(), it, prefix) != it;
    if (again) continue;
    ++distinct;
    out->push_back(static_cast<char>(prefix.address.family));
    out->push_back(static_cast<char>(prefix.length));
    AppendAddress(out, prefix.address);
  }
  return distinct;
}

// Reads the variable part of a record, refusing to run past its end.
class Reader {
 public:
  explicit Reader(absl::string_view bytes) : bytes_(bytes) {}

  bool Take(size_t n, absl::string_view* out) {
    if (bytes_.size() < n) return false;
    *out = bytes_.substr(0, n);
    bytes_.remove_prefix(n);
    return true;
  }
  bool TakeByte(uint8_t* out) {
    absl::string_view byte;
    if (!Take(1, &byte)) return false;
    *out = static_cast<uint8_t>(byte[0]);
    return true;
  }
  bool AtEnd() const { return bytes_.empty(); }

 private:
  absl::string_view bytes_;
};

bool TakeQuota(Reader* reader, Quota* quota) {
  absl::string_view bytes;
  if (!reader->Take(kQuotaBytes, &bytes)) return false;
  quota->bytes = Get<uint64_t>(bytes, 0);
  quota->period = absl::Seconds(Get<uint32_t>(bytes, 8));
  return quota->period >= Quota::kPeriodMin;
}

}  // namespace

absl::StatusOr<std::string> EncodePeer(const Peer& peer) {
  WICKET_RETURN_IF_ERROR(CheckFields(peer));
  std::string out(kPeerHeaderBytes, '\0');
  const bool has_psk = peer.config.preshared_key.has_value();
  out[0] = kPeerVersion;
  out[1] = static_cast<char>((has_psk ? kFlagPresharedKey : 0) | (peer.pinned ? kFlagPinned : 0) |
                             (peer.quota.limits() ? kFlagQuota : 0));
  Set(&out, 2, peer.config.persistent_keepalive_s);
  Set(&out, 8, absl::ToUnixSeconds(peer.created));
  Set(&out, 16,
      peer.expires == absl::InfiniteFuture() ? int64_t{0} : ExpiresUnixSeconds(peer.expires));
  out[26] = static_cast<char>(peer.device.size());
  out[27] = static_cast<char>(peer.labels.size());
  if (has_psk) {
    out.append(reinterpret_cast<const char*>(peer.config.preshared_key->data()), kKeyBytes);
  }
  if (peer.quota.limits()) {
    out.append(kQuotaBytes, '\0');
    Set(&out, out.size() - kQuotaBytes, peer.quota.bytes);
    Set(&out, out.size() - 4, static_cast<uint32_t>(absl::ToInt64Seconds(peer.quota.period)));
  }
  out += peer.device;
  Set(&out, 24, AppendAllowedIps(&out, peer.config.allowed_ips));
  for (const auto& [name, text] : peer.labels) {
    out.push_back(static_cast<char>(name.size()));
    out.push_back(static_cast<char>(text.size()));
    out += name;
    out += text;
  }
  Set(&out, kCrcOffset, Checksum(peer.config.public_key, out));
  return out;
}

std::optional<PeerView> ViewPeer(const PublicKey& key, absl::string_view value) {
  if (!Verify(key, value, kPeerVersion, kPeerHeaderBytes)) return std::nullopt;
  Reader reader(value.substr(kPeerHeaderBytes));
  PeerView view{.expires = ExpiresAt(Get<int64_t>(value, 16)), .value = value};
  absl::string_view key_bytes;
  if ((value[1] & kFlagPresharedKey) && !reader.Take(kKeyBytes, &key_bytes)) return std::nullopt;
  if ((value[1] & kFlagQuota) && !TakeQuota(&reader, &view.quota)) return std::nullopt;
  if (!reader.Take(static_cast<uint8_t>(value[26]), &view.device)) return std::nullopt;
  return view;
}

std::optional<Peer> DecodePeer(const PublicKey& key, absl::string_view value) {
  if (!Verify(key, value, kPeerVersion, kPeerHeaderBytes)) return std::nullopt;
  Peer peer;
  peer.config.public_key = key;
  peer.config.persistent_keepalive_s = Get<uint16_t>(value, 2);
  peer.created = absl::FromUnixSeconds(Get<int64_t>(value, 8));
  peer.expires = ExpiresAt(Get<int64_t>(value, 16));
  peer.pinned = value[1] & kFlagPinned;
  Reader reader(value.substr(kPeerHeaderBytes));
  absl::string_view bytes;
  if (value[1] & kFlagPresharedKey) {
    if (!reader.Take(kKeyBytes, &bytes)) return std::nullopt;
    memcpy(peer.config.preshared_key.emplace().data(), bytes.data(), kKeyBytes);
  }
  if ((value[1] & kFlagQuota) && !TakeQuota(&reader, &peer.quota)) return std::nullopt;
  if (!reader.Take(static_cast<uint8_t>(value[26]), &bytes)) return std::nullopt;
  peer.device = std::string(bytes);
  for (uint16_t i = Get<uint16_t>(value, 24); i > 0; --i) {
    uint8_t family, length;
    if (!reader.TakeByte(&family) || !reader.TakeByte(&length)) return std::nullopt;
    const size_t address_bytes = AddressBytes(family);
    if (address_bytes == 0 || length > address_bytes * 8 || !reader.Take(address_bytes, &bytes)) {
      return std::nullopt;
    }
    Prefix prefix;
    prefix.address.family = static_cast<Family>(family);
    prefix.length = length;
    memcpy(prefix.address.bytes.data(), bytes.data(), address_bytes);
    peer.config.allowed_ips.push_back(prefix);
  }
  for (auto i = static_cast<uint8_t>(value[27]); i > 0; --i) {
    uint8_t name_bytes, text_bytes;
    absl::string_view name, text;
    if (!reader.TakeByte(&name_bytes) || !reader.TakeByte(&text_bytes) ||
        !reader.Take(name_bytes, &name) || !reader.Take(text_bytes, &text)) {
      return std::nullopt;
    }
    peer.labels.emplace_back(std::string(name), std::string(text));
  }
  if (!reader.AtEnd()) return std::nullopt;
  return peer;
}

std::string EncodeSession(const PublicKey& key, const Session& session) {
  std::string out(kSessionBytes, '\0');
  out[0] = kSessionVersion;
  out[1] = static_cast<char>((session.mark.estimated ? kEstimated : 0) |
                             (session.mark.lowered ? kLowered : 0));
  Set(&out, 8, session.mark.bounded);
  Set(&out, 20, session.mark.exact);
  Set(&out, 32, absl::ToUnixNanos(session.mark.accepted.wall));
  out[40] = static_cast<char>(session.endpoint.address.family);
  Set(&out, 42, session.endpoint.port);
  Set(&out, 44, session.endpoint.scope_id);
  Set(&out, 48, session.endpoint.address.bytes);
  Set(&out, 64, absl::ToUnixNanos(session.last_handshake));
  Set(&out, 72, session.installs);
  Set(&out, 80, session.received_bytes);
  Set(&out, 88, session.sent_bytes);
  Set(&out, 96, session.handshakes);
  Set(&out, 104, absl::ToInt64Nanoseconds(session.mark.accepted.up));
  Set(&out, 112, session.mark.accepted.boot);
  Set(&out, 120, absl::ToUnixSeconds(session.period_begun));
  Set(&out, 128, session.period_base);
  Set(&out, kCrcOffset, Checksum(key, out));
  return out;
}

std::optional<Session> DecodeSession(const PublicKey& key, absl::string_view value) {
  const bool has_boot = value.size() > kSessionBytesWithoutBoot;
  const bool has_period = value.size() > kSessionBytesWithoutPeriod;
  const uint8_t version = has_period ? kSessionVersion
                          : has_boot ? kSessionVersionWithoutPeriod
                                     : kSessionVersionWithoutBoot;
  const size_t size = has_period ? kSessionBytes
                      : has_boot ? kSessionBytesWithoutPeriod
                                 : kSessionBytesWithoutBoot;
  if (value.size() != size || !Verify(key, value, version, size)) return std::nullopt;
  Session session;
  session.mark.bounded = Get<Tai64n>(value, 8);
  session.mark.exact = Get<Tai64n>(value, 20);
  session.mark.accepted.wall = absl::FromUnixNanos(Get<int64_t>(value, 32));
  session.endpoint.address.family = static_cast<Family>(value[40]);
  session.endpoint.port = Get<uint16_t>(value, 42);
  session.endpoint.scope_id = Get<uint32_t>(value, 44);
  session.endpoint.address.bytes = Get<std::array<uint8_t, 16>>(value, 48);
  session.last_handshake = absl::FromUnixNanos(Get<int64_t>(value, 64));
  session.installs = Get<uint64_t>(value, 72);
  session.received_bytes = Get<uint64_t>(value, 80);
  session.sent_bytes = Get<uint64_t>(value, 88);
  session.handshakes = Get<uint64_t>(value, 96);
  if (!has_boot) return session;
  session.mark.estimated = (static_cast<uint8_t>(value[1]) & kEstimated) != 0;
  session.mark.lowered = (static_cast<uint8_t>(value[1]) & kLowered) != 0;
  session.mark.accepted.up = absl::Nanoseconds(Get<int64_t>(value, 104));
  session.mark.accepted.boot = Get<uint64_t>(value, 112);
  if (!has_period) return session;
  session.period_begun = absl::FromUnixSeconds(Get<int64_t>(value, 120));
  session.period_base = Get<uint64_t>(value, 128);
  return session;
}

std::string PrefixKey(absl::string_view device, const Prefix& prefix) {
  std::string key(device);
  key.push_back('\0');
  key.push_back(static_cast<char>(prefix.address.family));
  key.push_back(static_cast<char>(prefix.length));
  AppendAddress(&key, prefix.address);
  return key;
}

std::string ExpiryKey(absl::Time expires, const PublicKey& key) {
  std::string out(8, '\0');
  Set(&out, 0, htobe64(static_cast<uint64_t>(ExpiresUnixSeconds(expires))));
  out.append(reinterpret_cast<const char*>(key.bytes.data()), kKeyBytes);
  return out;
}

std::string RevokedKey(absl::string_view device, const PublicKey& key) {
  std::string out(device);
  out.push_back('\0');
  out.append(reinterpret_cast<const char*>(key.bytes.data()), kKeyBytes);
  return out;
}

std::string LabelKey(absl::string_view device, absl::string_view name, absl::string_view text) {
  std::string key(device);
  for (const absl::string_view part : {name, text}) {
    key.push_back('\0');
    key.append(part.data(), part.size());
  }
  key.push_back('\0');
  return key;
}

}  // namespace wicket::store
