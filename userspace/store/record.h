// The records of a peer and its session, and the format of the file.
//
// Format 4. All integers are little-endian, unless said otherwise. A record is refused
// when its version is unknown, when it is shorter or longer than its counts say, or when
// its checksum is wrong. The checksum covers the key, so a record under a wrong key is
// refused too.
//
//   peers      key: public key, 32 bytes
//     0 u8  version (1)         4 u32 crc32 of key and value, with this field 0
//     1 u8  flags               8 i64 created, Unix seconds
//           1 preshared key    16 i64 expires, Unix seconds; 0 never
//           2 pinned           24 u16 allowed ips    26 u8 device name bytes
//           4 quota            27 u8 labels
//     2 u16 keepalive, s
//    28     [preshared key, 32], [quota: u64 bytes, u32 seconds of its period], device name,
//           allowed ips {u8 4|6, u8 length, 4|16 bytes},
//           labels {u8 key bytes, u8 value bytes, key, value}
//
//   sessions   key: public key, 32 bytes
//     0 u8  version (3)         4 u32 crc32, as above
//     1 u8  flags               1 the stamp mark is an estimate   2 it was lowered
//     8     stamp mark: bounded, 12   20     stamp mark: exact, 12
//    32 i64 stamp mark: accepted at, Unix ns
//   104 i64 the same, ns since the boot    112 u64 the boot's name
//           A record of format 2 has version 1 and ends before these.
//   120 i64 begin of the quota's period, Unix seconds   128 u64 bytes both ways, before it
//           A record of format 3 has version 2 and ends before these.
//    40 u8  endpoint family 0|4|6     42 u16 endpoint port   44 u32 endpoint scope id
//    48     endpoint address, 16
//    64 i64 last handshake, Unix ns   72 u64 installs
//    80 u64 bytes received            88 u64 bytes sent
//    96 u64 handshakes
//
//   prefixes   key: device name, 0, u8 4|6, u8 length, 4|16 bytes   value: public key
//   expiries   key: u64 big-endian, Unix seconds; public key        value: none
//   labels     key: device name, 0, name, 0, value, 0, public key   value: none
//   meta       key: "format"  value: u32 4
//
//   revoked    key: device name, 0, public key        value: u64 Unix ns of the deletion
//
// A peer is revoked from its deletion until it is known to have left its device, or is stored for
// it again.
// An entry of `expiries` or `labels` is a hint: it counts only when the peer's record agrees. A
// prefix is taken as long as the peer that its entry names is stored, whatever the record says.
// The tables of the address pools; see address_pool.h:
//
//   allocators key: as of prefixes, for a pool's CIDR   value: u128 big-endian, the next offset
//   released   key: as of prefixes, for a pool's CIDR; u64 big-endian, Unix ns; 4|16 bytes
//              value: u8 length of the prefix that was released
//   released_at  key: as of prefixes, for a pool's CIDR; 4|16 bytes; u8 length
//              value: the time in the key of `released`. It finds the entry of a prefix
//              there, so that a prefix waits once. An old file has some entries without.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/peer.h"
#include "base/status.h"
#include "base/tai64n.h"
#include "store/quota.h"

namespace wicket::store {

inline constexpr uint32_t kFormat = 4;
inline constexpr uint32_t kFormatOldest = 2;  // read, and taken for the format above from then on
inline constexpr size_t kDeviceNameBytesMax = 15;  // IFNAMSIZ - 1
inline constexpr size_t kAllowedIpsMax = 4096;
inline constexpr size_t kLabelsMax = 64;
inline constexpr size_t kLabelNameBytesMax = 63;  // an index key has at most 511 bytes
inline constexpr size_t kLabelTextBytesMax = 255;

struct Peer {
  PeerConfig config;
  std::string device;
  absl::Time created = absl::UnixEpoch();       // whole seconds
  absl::Time expires = absl::InfiniteFuture();  // whole seconds
  bool pinned = false;
  std::vector<std::pair<std::string, std::string>> labels;
  Quota quota;
};

// The fields of a peer that a shard needs. Lifetime: points into the record.
struct PeerView {
  absl::string_view device;
  absl::Time expires;
  Quota quota;
  absl::string_view value;  // the record, for DecodePeer
};

struct Session {
  StampMark mark;
  Endpoint endpoint;
  absl::Time last_handshake = absl::UnixEpoch();  // UnixEpoch: never
  uint64_t installs = 0;
  uint64_t handshakes = 0;  // seen in dumps of the device
  uint64_t received_bytes = 0;
  uint64_t sent_bytes = 0;
  // Of a peer with a quota: the period that it was last seen in, and its bytes before that.
  absl::Time period_begun = absl::UnixEpoch();
  uint64_t period_base = 0;
};

// A prefix that occurs twice in allowed_ips is encoded once, at its first place.
// Requires: a quota's period lies in Quota::kPeriodMin to kPeriodMax; with less, the record counts
//           as damaged.
// Errors:   InvalidArgument when the format cannot hold a field.
// Secrets:  the record has the preshared key; its owner wipes it.
absl::StatusOr<std::string> EncodePeer(const Peer& peer);
// Returns: nullopt when the record is damaged or of an unknown version.
// Cost:    a checksum and no allocation.
std::optional<PeerView> ViewPeer(const PublicKey& key, absl::string_view value);
std::optional<Peer> DecodePeer(const PublicKey& key, absl::string_view value);

std::string EncodeSession(const PublicKey& key, const Session& session);
std::optional<Session> DecodeSession(const PublicKey& key, absl::string_view value);

std::string PrefixKey(absl::string_view device, const Prefix& prefix);
std::string ExpiryKey(absl::Time expires, const PublicKey& key);
std::string RevokedKey(absl::string_view device, const PublicKey& key);
// The common start of all entries of a label: the key without the public key.
std::string LabelKey(absl::string_view device, absl::string_view name, absl::string_view text);

}  // namespace wicket::store
