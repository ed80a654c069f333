#include "store/writer.h"

#include <endian.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "store/lmdb_values.h"

namespace wicket::store {
namespace {

constexpr uint64_t kDiskReserveBytes = 1 << 20;
// A deletion writes new pages before it frees old ones, so new peers must leave some:
// what a change of every table may copy, several times over.
constexpr uint64_t kReservePages = 256;
constexpr uint64_t kReserveShare = 8;         // of the file, where that is less
constexpr unsigned kFreeTable = 0;            // LMDB's own: lists of free pages by transaction
constexpr absl::uint128 kFirstOffset = 2;     // 0 is the network's, 1 by custom the device's
constexpr size_t kTimeBytes = 8;              // big-endian Unix ns
constexpr int kAllocationStepsMax = 1 << 14;  // used addresses skipped in one call, about 10 ms

absl::uint128 ToNumber(const Address& address) {
  absl::uint128 number = 0;
  for (size_t i = 0; i < address.size(); ++i) number = number << 8 | address.bytes[i];
  return number;
}

Address ToAddress(Family family, absl::uint128 number) {
  Address address{family, {}};
  for (size_t i = address.size(); i-- > 0; number >>= 8) {
    address.bytes[i] = static_cast<uint8_t>(absl::Uint128Low64(number));
  }
  return address;
}

// The offset behind the last address that may be given out.
absl::uint128 EndOffset(const Prefix& cidr) {
  const int host_bits = cidr.address.bits() - cidr.length;
  const absl::uint128 all = host_bits == 128 ? absl::Uint128Max() : absl::uint128{1} << host_bits;
  return cidr.address.family == Family::kIpv4 ? all - 1 : all;  // less the broadcast address
}

std::string BigEndian(absl::uint128 number) {
  const Address bytes = ToAddress(Family::kIpv6, number);
  return std::string(reinterpret_cast<const char*>(bytes.bytes.data()), bytes.bytes.size());
}

absl::string_view Bytes(const Address& address) {
  return {reinterpret_cast<const char*>(address.bytes.data()), address.size()};
}

Address AddressAtEnd(Family family, absl::string_view bytes) {
  Address address{family, {}};
  memcpy(address.bytes.data(), bytes.data() + bytes.size() - address.size(), address.size());
  return address;
}

bool Has(const std::vector<Prefix>& prefixes, const Prefix& prefix) {
  return std::find(prefixes.begin(), prefixes.end(), prefix) != prefixes.end();
}

}  // namespace

Writer::Writer(Writer&& other) noexcept
    : turn_(std::move(other.turn_)),
      txn_(std::exchange(other.txn_, nullptr)),
      tables_(other.tables_),
      path_(std::move(other.path_)),
      bytes_max_(other.bytes_max_),
      spoilt_(other.spoilt_),
      room_(std::move(other.room_)),
      allocators_(std::move(other.allocators_)) {}

Writer::~Writer() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

absl::Status Writer::Spoil(int code, absl::string_view call) {
  if (code == MDB_SUCCESS) return absl::OkStatus();
  spoilt_ = true;
  if (code == MDB_MAP_FULL) return MapFull(call);
  // LMDB calls a short write an I/O error; the commonest reason is this one.
  struct statvfs disk;
  if ((code == EIO || code == ENOSPC) && statvfs(path_.c_str(), &disk) == 0 &&
      disk.f_bavail * disk.f_frsize < kDiskReserveBytes) {
    return absl::ResourceExhaustedError(absl::StrCat(call, ": the disk of the store ", path_,
                                                     " is full; nothing stored before is lost"));
  }
  return LmdbStatus(code, call, path_);
}

absl::Status Writer::MapFull(absl::string_view call) const {
  return absl::ResourceExhaustedError(
      absl::StrCat(call, ": the store ", path_, " has reached its limit of ", bytes_max_,
                   " bytes (delete peers, or raise store.bytes_max and restart)"));
}

// The free pages are counted only near the end of the file.
absl::Status Writer::CheckRoom() {
  if (room_) return *room_;
  MDB_env* env = mdb_txn_env(txn_);
  MDB_envinfo info;
  MDB_stat stat;
  mdb_env_info(env, &info);
  mdb_env_stat(env, &stat);
  const uint64_t pages = info.me_mapsize / stat.ms_psize;
  const uint64_t reserve = std::min(kReservePages, pages / kReserveShare);
  uint64_t left = pages - std::min<uint64_t>(pages, info.me_last_pgno + 1);
  MDB_txn* reader = nullptr;  // only readers may look into that table
  if (left < reserve && mdb_txn_begin(env, nullptr, MDB_RDONLY, &reader) == MDB_SUCCESS) {
    const Cursor cursor = OpenCursor(reader, kFreeTable);
    MDB_val key{}, value{};
    while (cursor && left < reserve &&
           mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT) == MDB_SUCCESS) {
      size_t count = 0;
      if (value.mv_size >= sizeof(count)) memcpy(&count, value.mv_data, sizeof(count));
      left += count;
    }
    mdb_txn_abort(reader);
  }
  room_ = left < reserve ? MapFull("a new record") : absl::OkStatus();
  return *room_;
}

absl::Status Writer::Put(unsigned table, absl::string_view key, absl::string_view value) {
  MDB_val lmdb_key = Val(key), lmdb_value = Val(value);
  return Spoil(mdb_put(txn_, table, &lmdb_key, &lmdb_value, 0), "mdb_put()");
}

// What is not there is deleted already.
absl::Status Writer::Delete(unsigned table, absl::string_view key, absl::string_view call) {
  MDB_val lmdb_key = Val(key);
  const int code = mdb_del(txn_, table, &lmdb_key, nullptr);
  return code == MDB_NOTFOUND ? absl::OkStatus() : Spoil(code, call);
}

// --- peers ------------------------------------------------------------------

absl::StatusOr<Peer> Writer::FindPeer(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  const int code = mdb_get(txn_, tables_.peers, &lmdb_key, &value);
  if (code == MDB_NOTFOUND) {
    return absl::NotFoundError(absl::StrCat("peer ", Abbreviate(key), " is not stored"));
  }
  if (code != MDB_SUCCESS) return LmdbStatus(code, "mdb_get(peers)", path_);
  std::optional<Peer> peer = DecodePeer(key, View(value));
  if (!peer) return Damaged(key);
  return std::move(*peer);
}

absl::StatusOr<bool> Writer::HasPeer(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  const int code = mdb_get(txn_, tables_.peers, &lmdb_key, &value);
  if (code == MDB_NOTFOUND) return false;
  if (code != MDB_SUCCESS) return LmdbStatus(code, "mdb_get(peers)", path_);
  return true;
}

namespace {

absl::Status Taken(const Prefix& prefix, absl::string_view device, const PublicKey& owner) {
  return absl::AlreadyExistsError(
      absl::StrCat(ToString(prefix), " on ", device, " belongs to peer ", Abbreviate(owner)));
}

// It would leave the device it is in, and with it its session.
absl::Status Elsewhere(const Peer& stored) {
  return absl::AlreadyExistsError(absl::StrCat("peer ", Abbreviate(stored.config.public_key),
                                               " is stored for device ", stored.device,
                                               "; delete it there first"));
}

}  // namespace

absl::Status Writer::CheckPeer(const Peer& peer) const {
  WICKET_RETURN_IF_ERROR(EncodePeer(peer).status());
  if (const auto before = FindPeer(peer.config.public_key);
      before.ok() && before->device != peer.device) {
    return Elsewhere(*before);
  }
  for (const Prefix& prefix : peer.config.allowed_ips) {
    const std::string prefix_key = PrefixKey(peer.device, prefix);
    MDB_val lmdb_key = Val(absl::string_view(prefix_key)), owner;
    const int code = mdb_get(txn_, tables_.prefixes, &lmdb_key, &owner);
    if (code == MDB_NOTFOUND) continue;
    if (code != MDB_SUCCESS) return LmdbStatus(code, "mdb_get(prefixes)", path_);
    const auto key = KeyAtEnd(View(owner));
    if (key && *key != peer.config.public_key && !absl::IsNotFound(FindPeer(*key).status())) {
      return Taken(prefix, peer.device, *key);
    }
  }
  return absl::OkStatus();
}

absl::Status Writer::PutPeer(const Peer& peer) {
  const PublicKey& key = peer.config.public_key;
  WICKET_ASSIGN_OR_RETURN(const std::string record, EncodePeer(peer));
  MDB_val lmdb_key = Val(key), old;
  const int code = mdb_get(txn_, tables_.peers, &lmdb_key, &old);
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return Spoil(code, "mdb_get(peers)");
  if (code == MDB_SUCCESS && View(old) == absl::string_view(record)) return absl::OkStatus();
  if (code == MDB_NOTFOUND || record.size() > old.mv_size) WICKET_RETURN_IF_ERROR(CheckRoom());
  // A damaged record is replaced; the prefixes it held are found to be this key's.
  std::optional<Peer> before;
  if (code == MDB_SUCCESS) before = DecodePeer(key, View(old));
  if (before && before->device != peer.device) return Elsewhere(*before);

  for (size_t i = 0; i < peer.config.allowed_ips.size(); ++i) {
    const Prefix& prefix = peer.config.allowed_ips[i];
    const std::string prefix_key = PrefixKey(peer.device, prefix);
    MDB_val lmdb_prefix = Val(absl::string_view(prefix_key)), owner = Val(key);
    const int put = mdb_put(txn_, tables_.prefixes, &lmdb_prefix, &owner, MDB_NOOVERWRITE);
    if (put == MDB_SUCCESS) continue;
    if (put != MDB_KEYEXIST) return Spoil(put, "mdb_put(prefixes)");
    const auto other = KeyAtEnd(View(owner));
    if (other && *other == key) continue;
    if (!other || absl::IsNotFound(FindPeer(*other).status())) {
      // What a damaged peer left behind when it was deleted.
      WICKET_RETURN_IF_ERROR(Put(tables_.prefixes, prefix_key, View(key)));
      continue;
    }
    // Undo what was put for this peer and was not its own before.
    for (size_t j = 0; j < i; ++j) {
      const Prefix& mine = peer.config.allowed_ips[j];
      if (before && Has(before->config.allowed_ips, mine)) continue;
      WICKET_RETURN_IF_ERROR(
          Delete(tables_.prefixes, PrefixKey(peer.device, mine), "mdb_del(prefixes)"));
    }
    return Taken(prefix, peer.device, other.value_or(PublicKey{}));
  }
  if (before) {
    Peer gone = std::move(*before);
    std::erase_if(gone.config.allowed_ips,
                  [&](const Prefix& prefix) { return Has(peer.config.allowed_ips, prefix); });
    WICKET_RETURN_IF_ERROR(DeleteIndexes(gone));
  }
  if (code == MDB_NOTFOUND) WICKET_RETURN_IF_ERROR(ForgetRevoked(peer.device, key));
  WICKET_RETURN_IF_ERROR(PutIndexes(peer));
  return Put(tables_.peers, View(key), record);
}

// All but the prefixes.
absl::Status Writer::PutIndexes(const Peer& peer) {
  const PublicKey& key = peer.config.public_key;
  if (peer.expires != absl::InfiniteFuture()) {
    WICKET_RETURN_IF_ERROR(Put(tables_.expiries, ExpiryKey(peer.expires, key), ""));
  }
  for (const auto& [name, text] : peer.labels) {
    WICKET_RETURN_IF_ERROR(
        Put(tables_.labels, absl::StrCat(LabelKey(peer.device, name, text), std::string(View(key))),
            ""));
  }
  return absl::OkStatus();
}

absl::Status Writer::DeleteIndexes(const Peer& peer) {
  const PublicKey& key = peer.config.public_key;
  for (const Prefix& prefix : peer.config.allowed_ips) {
    WICKET_RETURN_IF_ERROR(
        Delete(tables_.prefixes, PrefixKey(peer.device, prefix), "mdb_del(prefixes)"));
    WICKET_RETURN_IF_ERROR(NoteReleased(peer.device, prefix));
  }
  if (peer.expires != absl::InfiniteFuture()) {
    WICKET_RETURN_IF_ERROR(
        Delete(tables_.expiries, ExpiryKey(peer.expires, key), "mdb_del(expiries)"));
  }
  for (const auto& [name, text] : peer.labels) {
    WICKET_RETURN_IF_ERROR(Delete(
        tables_.labels, absl::StrCat(LabelKey(peer.device, name, text), std::string(View(key))),
        "mdb_del(labels)"));
  }
  return absl::OkStatus();
}

absl::Status Writer::DeletePeer(const PublicKey& key) {
  const absl::StatusOr<Peer> before = FindPeer(key);
  if (before.ok()) {
    WICKET_RETURN_IF_ERROR(DeleteIndexes(*before));
    const int64_t now_ns = absl::GetCurrentTimeNanos();
    WICKET_RETURN_IF_ERROR(Put(tables_.revoked, RevokedKey(before->device, key),
                               {reinterpret_cast<const char*>(&now_ns), sizeof(now_ns)}));
  } else if (!absl::IsDataLoss(before.status())) {
    return before.status();
  }
  WICKET_RETURN_IF_ERROR(Delete(tables_.peers, View(key), "mdb_del(peers)"));
  return Delete(tables_.sessions, View(key), "mdb_del(sessions)");
}

absl::Status Writer::ForgetRevoked(absl::string_view device, const PublicKey& key) {
  return Delete(tables_.revoked, RevokedKey(device, key), "mdb_del(revoked)");
}

absl::Status Writer::ForgetRevokedBefore(absl::string_view device, absl::Time before) {
  const Cursor cursor = OpenCursor(txn_, tables_.revoked);
  if (!cursor) return Spoil(ENOMEM, "mdb_cursor_open(revoked)");
  const std::string start = absl::StrCat(std::string(device), absl::string_view("\0", 1));
  MDB_val key = Val(absl::string_view(start)), value{};
  int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_SET_RANGE);
  for (; code == MDB_SUCCESS && View(key).substr(0, start.size()) == start;
       code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
    int64_t deleted_ns = 0;
    if (value.mv_size == sizeof(deleted_ns)) memcpy(&deleted_ns, value.mv_data, sizeof(deleted_ns));
    if (absl::FromUnixNanos(deleted_ns) >= before) continue;
    WICKET_RETURN_IF_ERROR(Spoil(mdb_cursor_del(cursor.get(), 0), "mdb_cursor_del(revoked)"));
  }
  return code == MDB_SUCCESS || code == MDB_NOTFOUND ? absl::OkStatus()
                                                     : Spoil(code, "mdb_cursor_get(revoked)");
}

absl::StatusOr<std::vector<Peer>> Writer::DeleteExpired(absl::Time now, size_t count) {
  std::vector<Peer> deleted;
  for (size_t i = 0; i < count; ++i) {
    MDB_val key{}, value{};
    {
      const Cursor cursor = OpenCursor(txn_, tables_.expiries);
      if (!cursor) return Spoil(ENOMEM, "mdb_cursor_open(expiries)");
      const int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_FIRST);
      if (code == MDB_NOTFOUND) break;
      if (code != MDB_SUCCESS) return Spoil(code, "mdb_cursor_get(expiries)");
    }
    const std::string entry(View(key));
    const auto public_key = KeyAtEnd(entry);
    if (!public_key || entry > ExpiryKey(now + absl::Seconds(1), PublicKey{})) break;
    absl::StatusOr<Peer> peer = FindPeer(*public_key);
    if (peer.ok() && ExpiryKey(peer->expires, *public_key) == entry) {
      WICKET_RETURN_IF_ERROR(DeletePeer(*public_key));
      deleted.push_back(std::move(*peer));
    }
    // An entry that its peer does not agree with is a left-over.
    WICKET_RETURN_IF_ERROR(Delete(tables_.expiries, entry, "mdb_del(expiries)"));
  }
  return deleted;
}

// --- sessions ---------------------------------------------------------------

absl::Status Writer::PutSession(const PublicKey& key, const Session& session) {
  MDB_val lmdb_key = Val(key), before;
  if (mdb_get(txn_, tables_.sessions, &lmdb_key, &before) == MDB_NOTFOUND) {
    WICKET_RETURN_IF_ERROR(CheckRoom());
  }
  return Put(tables_.sessions, View(key), EncodeSession(key, session));
}

absl::Status Writer::DeleteSession(const PublicKey& key) {
  return Delete(tables_.sessions, View(key), "mdb_del(sessions)");
}

std::optional<Session> Writer::FindSession(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  if (mdb_get(txn_, tables_.sessions, &lmdb_key, &value) != MDB_SUCCESS) return std::nullopt;
  return DecodeSession(key, View(value));
}

// --- allocation -------------------------------------------------------------

absl::Status Writer::LoadAllocators() {
  if (allocators_) return absl::OkStatus();
  allocators_.emplace();
  const Cursor cursor = OpenCursor(txn_, tables_.allocators);
  if (!cursor) return Spoil(ENOMEM, "mdb_cursor_open(allocators)");
  MDB_val key{}, value{};
  int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_FIRST);
  for (; code == MDB_SUCCESS; code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
    const absl::string_view entry = View(key);
    const size_t zero = entry.find('\0');
    if (zero == entry.npos || entry.size() < zero + 7 || value.mv_size != 16) continue;
    const auto family = static_cast<Family>(entry[zero + 1]);
    if (entry.size() != zero + 3 + Address{family, {}}.size()) continue;
    allocators_->push_back({std::string(entry),
                            {AddressAtEnd(family, entry), static_cast<uint8_t>(entry[zero + 2])},
                            ToNumber(AddressAtEnd(Family::kIpv6, View(value)))});
  }
  return code == MDB_NOTFOUND ? absl::OkStatus() : Spoil(code, "mdb_cursor_get(allocators)");
}

absl::StatusOr<Writer::Allocator*> Writer::AllocatorOf(absl::string_view device,
                                                       const Prefix& cidr) {
  WICKET_RETURN_IF_ERROR(LoadAllocators());
  const std::string key = PrefixKey(device, cidr);
  for (Allocator& allocator : *allocators_) {
    if (allocator.key == key) return &allocator;
  }
  return &allocators_->emplace_back(Allocator{key, cidr, kFirstOffset});
}

// What comes back waits in `released`, unless it would be reached anyway. It may be
// a range: addresses inside were passed over while it was somebody's.
absl::Status Writer::NoteReleased(absl::string_view device, const Prefix& prefix) {
  WICKET_RETURN_IF_ERROR(LoadAllocators());
  for (const Allocator& allocator : *allocators_) {
    if (allocator.key != PrefixKey(device, allocator.cidr)) continue;
    const bool inside = Contains(allocator.cidr, prefix);
    if (!inside && !Contains(prefix, allocator.cidr)) continue;
    const Prefix& part = inside ? prefix : allocator.cidr;
    if (ToNumber(part.address) - ToNumber(allocator.cidr.address) >= allocator.next) continue;
    const uint64_t now_ns = htobe64(static_cast<uint64_t>(absl::GetCurrentTimeNanos()));
    WICKET_RETURN_IF_ERROR(
        PutReleased(allocator.key, {reinterpret_cast<const char*>(&now_ns), kTimeBytes}, part));
  }
  return absl::OkStatus();
}

// What waits already goes to the end of the queue.
absl::Status Writer::PutReleased(const std::string& allocator, const std::string& time,
                                 const Prefix& part) {
  const std::string address(Bytes(part.address));
  const std::string length(1, static_cast<char>(part.length));
  const std::string where = allocator + address + length;
  MDB_val key = Val(absl::string_view(where)), before;
  if (mdb_get(txn_, tables_.released_at, &key, &before) == MDB_SUCCESS) {
    if (View(before) > absl::string_view(time)) return absl::OkStatus();  // of a range halved
    WICKET_RETURN_IF_ERROR(Delete(tables_.released,
                                  absl::StrCat(allocator, std::string(View(before)), address),
                                  "mdb_del()"));
  }
  WICKET_RETURN_IF_ERROR(Put(tables_.released_at, where, time));
  return Put(tables_.released, allocator + time + address, length);
}

// The address that has been back for longest. A range is halved until one is left.
absl::StatusOr<std::optional<Address>> Writer::TakeReleased(absl::string_view device,
                                                            const Allocator& allocator) {
  const Address& base = allocator.cidr.address;
  for (int step = 0; step < kAllocationStepsMax; ++step) {
    std::string entry;
    uint8_t length = base.bits();
    {
      const Cursor cursor = OpenCursor(txn_, tables_.released);
      if (!cursor) return Spoil(ENOMEM, "mdb_cursor_open(released)");
      MDB_val key = Val(absl::string_view(allocator.key)), value;
      const int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_SET_RANGE);
      if (code == MDB_NOTFOUND) return std::nullopt;
      if (code != MDB_SUCCESS) return Spoil(code, "mdb_cursor_get(released)");
      entry = std::string(View(key));
      if (value.mv_size == 1) length = static_cast<uint8_t>(View(value)[0]);
    }
    if (entry.size() != allocator.key.size() + kTimeBytes + base.size() ||
        entry.compare(0, allocator.key.size(), allocator.key) != 0) {
      return std::nullopt;
    }
    const Address address = AddressAtEnd(base.family, entry);
    const std::string time = entry.substr(allocator.key.size(), kTimeBytes);
    const std::string where = absl::StrCat(allocator.key, std::string(Bytes(address)),
                                           std::string(1, static_cast<char>(length)));
    WICKET_RETURN_IF_ERROR(Delete(tables_.released, entry, "mdb_del(released)"));
    WICKET_RETURN_IF_ERROR(Delete(tables_.released_at, where, "mdb_del(released_at)"));
    while (length < base.bits()) {
      ++length;
      const absl::uint128 half = absl::uint128{1} << (base.bits() - length);
      WICKET_RETURN_IF_ERROR(PutReleased(
          allocator.key, time, {ToAddress(base.family, ToNumber(address) + half), length}));
    }
    const absl::uint128 offset = ToNumber(address) - ToNumber(base);
    if (offset >= kFirstOffset && offset < std::min(allocator.next, EndOffset(allocator.cidr)) &&
        IsFree(device, allocator.cidr, address)) {
      return address;
    }
  }
  return absl::UnavailableError("addresses in use are being skipped; ask again");
}

// Neither it nor a wider prefix inside the CIDR is anybody's.
bool Writer::IsFree(absl::string_view device, const Prefix& cidr, const Address& address) const {
  for (int length = address.bits(); length >= cidr.length; --length) {
    const std::string key = PrefixKey(device, PrefixOf(address, static_cast<uint8_t>(length)));
    MDB_val lmdb_key = Val(absl::string_view(key)), owner;
    if (mdb_get(txn_, tables_.prefixes, &lmdb_key, &owner) != MDB_NOTFOUND) return false;
  }
  return true;
}

absl::StatusOr<Prefix> Writer::Allocate(absl::string_view device,
                                        const std::vector<Prefix>& cidrs) {
  WICKET_RETURN_IF_ERROR(CheckRoom());
  for (const Prefix& cidr : cidrs) {
    WICKET_ASSIGN_OR_RETURN(Allocator * allocator, AllocatorOf(device, cidr));
    WICKET_ASSIGN_OR_RETURN(const auto released, TakeReleased(device, *allocator));
    if (released) return Prefix{*released, released->bits()};
    const absl::uint128 base = ToNumber(cidr.address), end = EndOffset(cidr);
    std::optional<Address> found;
    bool more = allocator->next < end;
    for (int step = 0; more && !found && step < kAllocationStepsMax; ++step) {
      const Address address = ToAddress(cidr.address.family, base + allocator->next);
      more = ++allocator->next < end;
      if (IsFree(device, cidr, address)) found = address;
    }
    WICKET_RETURN_IF_ERROR(Put(tables_.allocators, allocator->key, BigEndian(allocator->next)));
    if (found) return Prefix{*found, found->bits()};
    if (more) return absl::UnavailableError("addresses in use are being skipped; ask again");
  }
  return absl::ResourceExhaustedError("every address of the pool is in use");
}

// --- the end ----------------------------------------------------------------

absl::Status Writer::Commit() {
  absl::Status status = Spoil(mdb_txn_commit(std::exchange(txn_, nullptr)), "mdb_txn_commit()");
  turn_.Close();
  return status;
}

}  // namespace wicket::store
