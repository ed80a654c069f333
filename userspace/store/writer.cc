#include "store/writer.h"

#include <string.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "store/lmdb_values.h"

namespace wicket::store {

// --- peers ------------------------------------------------------------------

absl::StatusOr<Peer> Writer::FindPeer(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  const int code = mdb_get(txn_->get(), tables_.peers, &lmdb_key, &value);
  if (code == MDB_NOTFOUND) {
    return absl::NotFoundError(absl::StrCat("peer ", Abbreviate(key), " is not stored"));
  }
  if (code != MDB_SUCCESS) return LmdbStatus(code, "mdb_get(peers)", txn_->path());
  std::optional<Peer> peer = DecodePeer(key, View(value));
  if (!peer) return Damaged(key);
  return std::move(*peer);
}

absl::StatusOr<bool> Writer::HasPeer(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  const int code = mdb_get(txn_->get(), tables_.peers, &lmdb_key, &value);
  if (code == MDB_NOTFOUND) return false;
  if (code != MDB_SUCCESS) return LmdbStatus(code, "mdb_get(peers)", txn_->path());
  return true;
}

namespace {

bool Has(const std::vector<Prefix>& prefixes, const Prefix& prefix) {
  return std::find(prefixes.begin(), prefixes.end(), prefix) != prefixes.end();
}

absl::Status Taken(const Prefix& prefix, absl::string_view device, const PublicKey& owner) {
  return absl::AlreadyExistsError(
      absl::StrCat(ToString(prefix), " on ", device, " belongs to peer ", Abbreviate(owner)));
}

// A peer that changed its device would lose its session.
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
  return MissingPrefixes(peer).status();
}

absl::StatusOr<std::vector<Prefix>> Writer::MissingPrefixes(const Peer& peer) const {
  std::vector<Prefix> missing;
  for (const Prefix& prefix : peer.config.allowed_ips) {
    const std::string entry = PrefixKey(peer.device, prefix);
    MDB_val lmdb_key = Val(absl::string_view(entry)), value;
    const int code = mdb_get(txn_->get(), tables_.prefixes, &lmdb_key, &value);
    if (code != MDB_SUCCESS && code != MDB_NOTFOUND) {
      return txn_->Spoil(code, "mdb_get(prefixes)");
    }
    const auto owner = code == MDB_SUCCESS ? KeyAtEnd(View(value)) : std::nullopt;
    if (owner == peer.config.public_key) continue;
    // A damaged peer leaves its entries behind when it is deleted.
    if (owner && !absl::IsNotFound(FindPeer(*owner).status())) {
      return Taken(prefix, peer.device, *owner);
    }
    missing.push_back(prefix);
  }
  return missing;
}

absl::Status Writer::PutPeer(const Peer& peer) {
  const PublicKey& key = peer.config.public_key;
  WICKET_ASSIGN_OR_RETURN(const std::string record, EncodePeer(peer));
  MDB_val lmdb_key = Val(key), old;
  const int code = mdb_get(txn_->get(), tables_.peers, &lmdb_key, &old);
  if (code != MDB_SUCCESS && code != MDB_NOTFOUND) return txn_->Spoil(code, "mdb_get(peers)");
  if (code == MDB_SUCCESS && View(old) == absl::string_view(record)) return absl::OkStatus();
  const bool grows = code == MDB_NOTFOUND || record.size() > old.mv_size;
  if (grows) WICKET_RETURN_IF_ERROR(txn_->CheckRoom());
  // A damaged record is replaced; the prefixes it held are found to be this key's.
  std::optional<Peer> before;
  if (code == MDB_SUCCESS) before = DecodePeer(key, View(old));
  if (before && before->device != peer.device) return Elsewhere(*before);
  WICKET_ASSIGN_OR_RETURN(const std::vector<Prefix> missing, MissingPrefixes(peer));
  // All checks are done: the first write comes here.
  for (const Prefix& prefix : missing) {
    WICKET_RETURN_IF_ERROR(txn_->Put(tables_.prefixes, PrefixKey(peer.device, prefix), View(key)));
  }
  if (before) {
    Peer gone = std::move(*before);
    std::erase_if(gone.config.allowed_ips,
                  [&](const Prefix& prefix) { return Has(peer.config.allowed_ips, prefix); });
    WICKET_RETURN_IF_ERROR(DeleteIndexes(gone));
  }
  if (code == MDB_NOTFOUND) WICKET_RETURN_IF_ERROR(ForgetRevoked(peer.device, key));
  WICKET_RETURN_IF_ERROR(PutIndexes(peer));
  return txn_->Put(tables_.peers, View(key), record);
}

// All but the prefixes.
absl::Status Writer::PutIndexes(const Peer& peer) {
  const PublicKey& key = peer.config.public_key;
  if (peer.expires != absl::InfiniteFuture()) {
    WICKET_RETURN_IF_ERROR(txn_->Put(tables_.expiries, ExpiryKey(peer.expires, key), ""));
  }
  for (const auto& [name, text] : peer.labels) {
    WICKET_RETURN_IF_ERROR(
        txn_->Put(tables_.labels,
                  absl::StrCat(LabelKey(peer.device, name, text), std::string(View(key))), ""));
  }
  return absl::OkStatus();
}

absl::Status Writer::DeleteIndexes(const Peer& peer) {
  const PublicKey& key = peer.config.public_key;
  for (const Prefix& prefix : peer.config.allowed_ips) {
    WICKET_RETURN_IF_ERROR(
        txn_->Delete(tables_.prefixes, PrefixKey(peer.device, prefix), "mdb_del(prefixes)"));
    WICKET_RETURN_IF_ERROR(addresses_.Release(peer.device, prefix));
  }
  if (peer.expires != absl::InfiniteFuture()) {
    WICKET_RETURN_IF_ERROR(
        txn_->Delete(tables_.expiries, ExpiryKey(peer.expires, key), "mdb_del(expiries)"));
  }
  for (const auto& [name, text] : peer.labels) {
    WICKET_RETURN_IF_ERROR(txn_->Delete(
        tables_.labels, absl::StrCat(LabelKey(peer.device, name, text), std::string(View(key))),
        "mdb_del(labels)"));
  }
  return absl::OkStatus();
}

absl::Status Writer::DeletePeer(const PublicKey& key) {
  const absl::StatusOr<Peer> before = FindPeer(key);
  if (before.ok()) {
    WICKET_RETURN_IF_ERROR(DeleteIndexes(*before));
    const int64_t now_ns = absl::ToUnixNanos(WallNow());
    WICKET_RETURN_IF_ERROR(txn_->Put(tables_.revoked, RevokedKey(before->device, key),
                                     {reinterpret_cast<const char*>(&now_ns), sizeof(now_ns)}));
  } else if (!absl::IsDataLoss(before.status())) {
    return before.status();
  }
  WICKET_RETURN_IF_ERROR(txn_->Delete(tables_.peers, View(key), "mdb_del(peers)"));
  return txn_->Delete(tables_.sessions, View(key), "mdb_del(sessions)");
}

absl::Status Writer::ForgetRevoked(absl::string_view device, const PublicKey& key) {
  return txn_->Delete(tables_.revoked, RevokedKey(device, key), "mdb_del(revoked)");
}

absl::Status Writer::ForgetRevokedBefore(absl::string_view device, absl::Time before) {
  const Cursor cursor = OpenCursor(txn_->get(), tables_.revoked);
  if (!cursor) return txn_->Spoil(ENOMEM, "mdb_cursor_open(revoked)");
  const std::string start = absl::StrCat(std::string(device), absl::string_view("\0", 1));
  MDB_val key = Val(absl::string_view(start)), value{};
  int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_SET_RANGE);
  for (; code == MDB_SUCCESS && View(key).substr(0, start.size()) == start;
       code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
    int64_t deleted_ns = 0;
    if (value.mv_size == sizeof(deleted_ns)) memcpy(&deleted_ns, value.mv_data, sizeof(deleted_ns));
    if (absl::FromUnixNanos(deleted_ns) >= before) continue;
    WICKET_RETURN_IF_ERROR(txn_->Spoil(mdb_cursor_del(cursor.get(), 0), "mdb_cursor_del(revoked)"));
  }
  return code == MDB_SUCCESS || code == MDB_NOTFOUND ? absl::OkStatus()
                                                     : txn_->Spoil(code, "mdb_cursor_get(revoked)");
}

absl::StatusOr<std::vector<Peer>> Writer::DeleteExpired(absl::Time expired_by, size_t count) {
  const std::string end = ExpiryKey(expired_by + absl::Seconds(1), PublicKey{});
  std::vector<Peer> deleted;
  for (size_t i = 0; i < count; ++i) {
    MDB_val key{}, value{};
    {
      const Cursor cursor = OpenCursor(txn_->get(), tables_.expiries);
      if (!cursor) return txn_->Spoil(ENOMEM, "mdb_cursor_open(expiries)");
      const int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_FIRST);
      if (code == MDB_NOTFOUND) break;
      if (code != MDB_SUCCESS) return txn_->Spoil(code, "mdb_cursor_get(expiries)");
    }
    const std::string entry(View(key));
    const auto public_key = KeyAtEnd(entry);
    if (!public_key || entry >= end) break;
    absl::StatusOr<Peer> peer = FindPeer(*public_key);
    if (peer.ok() && ExpiryKey(peer->expires, *public_key) == entry) {
      WICKET_RETURN_IF_ERROR(DeletePeer(*public_key));
      deleted.push_back(std::move(*peer));
    }
    // An entry that the record does not agree with is stale: a damaged record left it.
    WICKET_RETURN_IF_ERROR(txn_->Delete(tables_.expiries, entry, "mdb_del(expiries)"));
  }
  return deleted;
}

// --- sessions ---------------------------------------------------------------

absl::Status Writer::PutSession(const PublicKey& key, const Session& session) {
  MDB_val lmdb_key = Val(key), before;
  if (mdb_get(txn_->get(), tables_.sessions, &lmdb_key, &before) == MDB_NOTFOUND) {
    WICKET_RETURN_IF_ERROR(txn_->CheckRoom());
  }
  return txn_->Put(tables_.sessions, View(key), EncodeSession(key, session));
}

absl::Status Writer::DeleteSession(const PublicKey& key) {
  return txn_->Delete(tables_.sessions, View(key), "mdb_del(sessions)");
}

std::optional<Session> Writer::FindSession(const PublicKey& key) const {
  MDB_val lmdb_key = Val(key), value;
  if (mdb_get(txn_->get(), tables_.sessions, &lmdb_key, &value) != MDB_SUCCESS) return std::nullopt;
  return DecodeSession(key, View(value));
}

}  // namespace wicket::store
