#include "store/snapshot.h"

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "store/lmdb_values.h"

namespace wicket::store {

Snapshot::Snapshot(Snapshot&& other) noexcept
    : txn_(std::exchange(other.txn_, nullptr)), tables_(other.tables_), live_(other.live_) {}

Snapshot& Snapshot::operator=(Snapshot&& other) noexcept {
  std::swap(txn_, other.txn_);
  std::swap(tables_, other.tables_);
  std::swap(live_, other.live_);
  return *this;
}

Snapshot::~Snapshot() {
  if (txn_ != nullptr) mdb_txn_abort(txn_);
}

absl::Status Snapshot::Renew() {
  Release();
  const int code = mdb_txn_renew(txn_);
  live_ = code == MDB_SUCCESS;
  return LmdbStatus(code, "mdb_txn_renew()", "snapshot");
}

void Snapshot::Release() {
  if (live_) mdb_txn_reset(txn_);
  live_ = false;
}

Snapshot::Found Snapshot::ViewPeer(const PublicKey& key, PeerView* view) const {
  MDB_val lmdb_key = Val(key), value;
  const int code = mdb_get(txn_, tables_.peers, &lmdb_key, &value);
  if (code == MDB_NOTFOUND) return Found::kNo;
  if (code != MDB_SUCCESS) return Found::kDamaged;
  const auto found = store::ViewPeer(key, View(value));
  if (!found) return Found::kDamaged;
  *view = *found;
  return Found::kYes;
}

std::optional<Session> Snapshot::FindSession(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  if (mdb_get(txn_, tables_.sessions, &lmdb_key, &value) != MDB_SUCCESS) return std::nullopt;
  return DecodeSession(key, View(value));
}

CidrUse Snapshot::UseOfCidr(absl::string_view device, const Prefix& cidr) const {
  const std::string entry = PrefixKey(device, cidr);
  MDB_val lmdb_key = Val(absl::string_view(entry)), value;
  if (mdb_get(txn_, tables_.allocators, &lmdb_key, &value) != MDB_SUCCESS || value.mv_size != 16) {
    return UseOf(cidr, std::nullopt);
  }
  absl::uint128 next = 0;
  for (const char byte : View(value)) next = next << 8 | static_cast<uint8_t>(byte);
  return UseOf(cidr, next);
}

absl::StatusOr<Peer> Snapshot::FindPeer(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  const int code = mdb_get(txn_, tables_.peers, &lmdb_key, &value);
  if (code == MDB_NOTFOUND) {
    return absl::NotFoundError(absl::StrCat("peer ", Abbreviate(key), " is not stored"));
  }
  if (code != MDB_SUCCESS) return LmdbStatus(code, "mdb_get(peers)", "snapshot");
  std::optional<Peer> peer = DecodePeer(key, View(value));
  if (!peer) return Damaged(key);
  return std::move(*peer);
}

std::optional<PublicKey> Snapshot::FindPrefix(absl::string_view device,
                                              const Prefix& prefix) const {
  const std::string key = PrefixKey(device, prefix);
  MDB_val lmdb_key = Val(key), value;
  if (mdb_get(txn_, tables_.prefixes, &lmdb_key, &value) != MDB_SUCCESS ||
      value.mv_size != kKeyBytes) {
    return std::nullopt;
  }
  PublicKey owner;
  memcpy(owner.bytes.data(), value.mv_data, kKeyBytes);
  return owner;
}

absl::StatusOr<size_t> Snapshot::Walk(std::optional<PublicKey>* cursor, size_t count,
                                      const std::function<void(Peer)>& visit) const {
  MDB_cursor* raw = nullptr;
  if (int code = mdb_cursor_open(txn_, tables_.peers, &raw)) {
    return LmdbStatus(code, "mdb_cursor_open(peers)", "snapshot");
  }
  const std::unique_ptr<MDB_cursor, decltype(&mdb_cursor_close)> close(raw, mdb_cursor_close);
  MDB_val key{}, value{};
  int code;
  if (*cursor) {
    key = Val(**cursor);
    code = mdb_cursor_get(raw, &key, &value, MDB_SET_RANGE);
    if (code == MDB_SUCCESS && key.mv_size == kKeyBytes &&
        memcmp(key.mv_data, (*cursor)->bytes.data(), kKeyBytes) == 0) {
      code = mdb_cursor_get(raw, &key, &value, MDB_NEXT);
    }
  } else {
    code = mdb_cursor_get(raw, &key, &value, MDB_FIRST);
  }
  size_t visited = 0;
  for (; code == MDB_SUCCESS && visited < count; ++visited) {
    PublicKey public_key;
    if (key.mv_size != kKeyBytes) return absl::DataLossError("peers: a key is not 32 bytes");
    memcpy(public_key.bytes.data(), key.mv_data, kKeyBytes);
    std::optional<Peer> peer = DecodePeer(public_key, View(value));
    if (!peer) return Damaged(public_key);
    visit(std::move(*peer));
    *cursor = public_key;
    code = mdb_cursor_get(raw, &key, &value, MDB_NEXT);
  }
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) {
    return LmdbStatus(code, "mdb_cursor_get(peers)", "snapshot");
  }
  return visited;
}

std::optional<PublicKey> Snapshot::FindAddress(absl::string_view device,
                                               const Address& address) const {
  for (int length = address.bits(); length >= 0; --length) {
    const auto owner = FindPrefix(device, PrefixOf(address, static_cast<uint8_t>(length)));
    if (owner) return owner;
  }
  return std::nullopt;
}

bool Snapshot::IsRevoked(absl::string_view device, const PublicKey& key) const {
  const std::string entry = RevokedKey(device, key);
  MDB_val lmdb_key = Val(absl::string_view(entry)), value;
  return mdb_get(txn_, tables_.revoked, &lmdb_key, &value) == MDB_SUCCESS;
}

// --- listings ---

bool Selection::Admits(const Peer& peer) const {
  if (!device.empty() && peer.device != device) return false;
  if (peer.expires > expired_by && expired_by != absl::InfinitePast()) return false;
  if (label && std::find(peer.labels.begin(), peer.labels.end(), *label) == peer.labels.end()) {
    return false;
  }
  return !within || std::any_of(peer.config.allowed_ips.begin(), peer.config.allowed_ips.end(),
                                [&](const Prefix& prefix) { return Contains(*within, prefix); });
}

namespace {

// The part of an index that a selection needs to look at: runs of entries, each
// from a first key to the last that `belongs` accepts.
struct Range {
  unsigned table;
  std::vector<std::string> starts;
  std::function<bool(absl::string_view entry, size_t run)> belongs;
};

Range RangeOf(const Selection& selection, const Tables& tables) {
  if (selection.within) {
    // Prefixes are ordered by length before address, so there is a run for each.
    Range range{tables.prefixes, {}, {}};
    for (int length = selection.within->length; length <= selection.within->address.bits();
         ++length) {
      range.starts.push_back(
          PrefixKey(selection.device, {selection.within->address, static_cast<uint8_t>(length)}));
    }
    const Address first = selection.within->address;
    const uint8_t fixed = selection.within->length;
    range.belongs = [starts = range.starts, first, fixed](absl::string_view entry, size_t run) {
      const absl::string_view start = starts[run];
      const size_t address_at = start.size() - first.size();
      if (entry.size() != start.size() ||
          entry.substr(0, address_at) != start.substr(0, address_at)) {
        return false;
      }
      Address address{first.family, {}};
      memcpy(address.bytes.data(), entry.data() + address_at, first.size());
      return Contains({first, fixed}, address);
    };
    return range;
  }
  if (selection.label) {
    std::string start = LabelKey(selection.device, selection.label->first, selection.label->second);
    return {tables.labels, {start}, [start](absl::string_view entry, size_t) {
              return entry.substr(0, start.size()) == start;
            }};
  }
  if (selection.expired_by != absl::InfinitePast()) {
    std::string last(kKeyBytes, '\xff');
    last = ExpiryKey(selection.expired_by, *KeyAtEnd(last));
    return {tables.expiries, {std::string(1, '\0')}, [last](absl::string_view entry, size_t) {
              return entry <= absl::string_view(last);
            }};
  }
  return {tables.peers, {std::string(1, '\0')}, [](absl::string_view, size_t) { return true; }};
}

// A peer with several allowed ips in the range comes by the first entry alone.
bool IsFirst(const Selection& selection, const Peer& peer, absl::string_view entry) {
  if (!selection.within) return true;
  for (const Prefix& prefix : peer.config.allowed_ips) {
    if (Contains(*selection.within, prefix) && PrefixKey(peer.device, prefix) < entry) return false;
  }
  return true;
}

}  // namespace

absl::Status Snapshot::List(const Selection& selection, size_t entries_max, std::string* cursor,
                            const std::function<bool(Peer)>& visit) const {
  const Range range = RangeOf(selection, tables_);
  const Cursor index = OpenCursor(txn_, range.table);
  if (!index) return absl::ResourceExhaustedError("mdb_cursor_open(): no memory");
  // A cursor is the last entry that was read; its run is the one it belongs to.
  size_t run = 0;
  if (!cursor->empty()) {
    while (run < range.starts.size() && !range.belongs(*cursor, run)) ++run;
    if (run == range.starts.size()) {
      return absl::InvalidArgumentError("the cursor belongs to another listing");
    }
  }
  bool resumed = !cursor->empty();
  size_t entries = 0;
  for (; run < range.starts.size(); ++run) {
    const std::string at = resumed ? *cursor : range.starts[run];
    MDB_val key = Val(absl::string_view(at)), value;
    int code = mdb_cursor_get(index.get(), &key, &value, MDB_SET_RANGE);
    if (code == MDB_SUCCESS && resumed && View(key) == absl::string_view(at)) {
      code = mdb_cursor_get(index.get(), &key, &value, MDB_NEXT);
    }
    resumed = false;
    for (; code == MDB_SUCCESS && range.belongs(View(key), run);
         code = mdb_cursor_get(index.get(), &key, &value, MDB_NEXT)) {
      if (entries++ == entries_max) return absl::OkStatus();
      *cursor = std::string(View(key));
      const auto public_key = KeyAtEnd(selection.within ? View(value) : View(key));
      if (!public_key) return absl::DataLossError("an index entry is too short for a public key");
      absl::StatusOr<Peer> peer = FindPeer(*public_key);
      if (absl::IsNotFound(peer.status())) continue;
      if (!peer.ok()) return peer.status();
      if (!selection.Admits(*peer) || !IsFirst(selection, *peer, *cursor)) continue;
      if (!visit(std::move(*peer))) return absl::OkStatus();
    }
    if (code != MDB_SUCCESS && code != MDB_NOTFOUND) {
      return LmdbStatus(code, "mdb_cursor_get()", "snapshot");
    }
  }
  cursor->clear();
  return absl::OkStatus();
}

}  // namespace wicket::store
