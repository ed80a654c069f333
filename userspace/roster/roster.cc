#include "roster/roster.h"

#include <string.h>

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "document/answer_text.h"

namespace wicket::roster {
namespace {

constexpr int kAllocationTries = 1000;
constexpr size_t kUnsyncedMax = 4096;

store::Peer CopyOf(const store::Peer& peer) {
  store::Peer copy;
  copy.config.public_key = peer.config.public_key;
  if (peer.config.preshared_key) copy.config.preshared_key = peer.config.preshared_key->Clone();
  copy.config.persistent_keepalive_s = peer.config.persistent_keepalive_s;
  copy.config.allowed_ips = peer.config.allowed_ips;
  copy.device = peer.device;
  copy.created = peer.created;
  copy.expires = peer.expires;
  copy.pinned = peer.pinned;
  copy.quota = peer.quota;
  copy.labels = peer.labels;
  return copy;
}

bool SameRecord(const store::Peer& a, const store::Peer& b) {
  auto one = store::EncodePeer(a), other = store::EncodePeer(b);
  const bool same = one.ok() && other.ok() && *one == *other;
  if (one.ok()) explicit_bzero(one->data(), one->size());
  if (other.ok()) explicit_bzero(other->data(), other->size());
  return same;
}

// The address of one of `cidrs` that the peer has already.
std::optional<Prefix> OwnAddress(const store::Peer& peer, const std::vector<Prefix>& cidrs) {
  for (const Prefix& own : peer.config.allowed_ips) {
    if (own.length != own.address.bits()) continue;
    for (const Prefix& cidr : cidrs) {
      if (Contains(cidr, own)) return own;
    }
  }
  return std::nullopt;
}

// Gives `peer` an address of each half of the pool, and appends what was taken to `taken`.
absl::Status Allocate(store::Writer& writer, const Pool& pool, const store::Peer* before,
                      store::Peer* peer, std::vector<Prefix>* taken) {
  std::vector<Prefix>& allowed_ips = peer->config.allowed_ips;
  for (const auto* cidrs : {&pool.ipv4, &pool.ipv6}) {
    if (cidrs->empty()) continue;
    std::optional<Prefix> address;
    if (before != nullptr) address = OwnAddress(*before, *cidrs);
    if (!address) {
      WICKET_ASSIGN_OR_RETURN(address, writer.Allocate(peer->device, *cidrs));
      taken->push_back(*address);
    }
    if (std::find(allowed_ips.begin(), allowed_ips.end(), *address) == allowed_ips.end()) {
      allowed_ips.push_back(*address);
    }
  }
  return absl::OkStatus();
}

// Creates or replaces one peer in a transaction. Nothing is written on error; Unavailable is
// Allocate's, and asks for another transaction.
absl::StatusOr<Stored> PutInto(store::Writer& writer, const document::PeerRequest& request,
                               const Pool* pool) {
  Stored stored{.peer = CopyOf(request.peer)};
  store::Peer& peer = stored.peer;
  const absl::StatusOr<store::Peer> before = writer.FindPeer(peer.config.public_key);
  stored.created = absl::IsNotFound(before.status());
  if (request.only_new && !stored.created) {
    return absl::AlreadyExistsError(
        before.ok() ? absl::StrCat("the peer is stored already, for device ", before->device)
                    : absl::StrCat("the peer is stored already: ", before.status().message()));
  }
  if (peer.created == absl::UnixEpoch()) {
    peer.created =
        before.ok() ? before->created : absl::FromUnixSeconds(absl::ToUnixSeconds(WallNow()));
  }
  WICKET_RETURN_IF_ERROR(writer.CheckPeer(peer));
  std::vector<Prefix> taken;
  absl::Status put;
  if (pool != nullptr)
    put = Allocate(writer, *pool, before.ok() ? &*before : nullptr, &peer, &taken);
  if (put.ok()) put = writer.PutPeer(peer);
  if (put.ok()) {
    stored.changed = !before.ok() || !SameRecord(*before, peer);
    return stored;
  }
  for (const Prefix& address : taken) {
    if (!writer.spoilt()) WICKET_RETURN_IF_ERROR(writer.Release(peer.device, address));
  }
  return put;
}

absl::Status NotInDevice(absl::string_view what, const absl::Status& status) {
  return absl::UnavailableError(absl::StrCat(what, ": ", status.message()));
}

}  // namespace

// --- put --------------------------------------------------------------------

absl::StatusOr<Stored> Roster::Put(const document::PeerRequest& request) {
  PutAllResult all = PutAll({&request, 1});
  if (!all.failed.ok()) return all.failed;
  return std::move(all.results[0]);
}

// Returns: the pool, nullptr when none is asked for.
absl::StatusOr<const Pool*> Roster::Check(const document::PeerRequest& request) const {
  const std::string& device = request.peer.device;
  if (devices_->OwnKey(device) == request.peer.config.public_key) {
    return document::AboutField("public_key", absl::InvalidArgumentError(absl::StrCat(
                                                  "public_key: it is the key of ", device,
                                                  " itself, which cannot be its own peer")));
  }
  if (request.pool.empty()) return nullptr;
  const auto it = pools_.find(request.pool);
  if (it != pools_.end() && it->second.device == device) return &it->second;
  return document::AboutField(
      "allocate", absl::InvalidArgumentError(absl::StrCat("allocate: no pool \"", request.pool,
                                                          "\" is configured for ", device)));
}

// Requests that no transaction is needed to refuse wait for none.
//
// An allocation that has skipped its share of used addresses ends the transaction before its
// request, and is asked again in the next: what it skipped is remembered.
Roster::PutAllResult Roster::PutAll(std::span<const document::PeerRequest> requests) {
  std::vector<absl::StatusOr<const Pool*>> pools;
  for (const auto& request : requests) pools.push_back(Check(request));
  PutAllResult all;
  if (std::none_of(pools.begin(), pools.end(), [](const auto& pool) { return pool.ok(); })) {
    for (const auto& pool : pools) all.results.push_back(pool.status());
    return all;
  }
  int tries = 0;
  while (all.results.size() < requests.size()) {
    std::vector<absl::StatusOr<Stored>> put;
    all.failed = Commit([&](store::Writer& writer) -> absl::Status {
      put.clear();
      for (size_t i = all.results.size(); i < requests.size(); ++i) {
        auto one = pools[i].ok() ? PutInto(writer, requests[i], *pools[i]) : pools[i].status();
        if (writer.spoilt()) return one.status();
        if (absl::IsUnavailable(one.status())) break;
        put.push_back(std::move(one));
      }
      return absl::OkStatus();
    });
    if (!all.failed.ok()) return all;
    tries = put.empty() ? tries + 1 : 0;
    if (tries == kAllocationTries) {
      put.push_back(absl::AbortedError("allocate: too many addresses in use were skipped"));
    }
    TellStored(&put);
    std::move(put.begin(), put.end(), std::back_inserter(all.results));
  }
  return all;
}

// A result becomes Unavailable when its device was not updated.
void Roster::TellStored(std::vector<absl::StatusOr<Stored>>* stored) {
  std::vector<Change> changes;
  std::vector<size_t> places;
  for (size_t i = 0; i < stored->size(); ++i) {
    if (!(*stored)[i].ok()) continue;
    const Stored& one = *(*stored)[i];
    const PublicKey& key = one.peer.config.public_key;
    Change change{.device = one.peer.device, .key = key};
    // No handshake has put a new peer into the device, unless the delete before did not reach it.
    change.sync = (one.changed && !one.created) || IsUnsynced(key);
    if (one.changed) change.kind = one.created ? event::Kind::kCreated : event::Kind::kUpdated;
    changes.push_back(std::move(change));
    places.push_back(i);
  }
  const std::vector<absl::Status> told = Tell(changes, Wait::kForDevice);
  for (size_t i = 0; i < told.size(); ++i) {
    if (told[i].ok()) continue;
    (*stored)[places[i]] = NotInDevice("stored, but the device was not updated", told[i]);
  }
}

// --- delete -----------------------------------------------------------------

absl::Status Roster::Delete(absl::string_view device, const PublicKey& key) {
  const absl::Status deleted = Commit([&](store::Writer& writer) -> absl::Status {
    const auto peer = writer.FindPeer(key);
    if (peer.ok() && peer->device != device) {
      return absl::NotFoundError(absl::StrCat("the peer is stored for device ", peer->device));
    }
    return writer.DeletePeer(key);
  });
  if (!deleted.ok() && !absl::IsNotFound(deleted)) return deleted;
  Change change{.device = std::string(device), .key = key};
  if (deleted.ok()) change.kind = event::Kind::kDeleted;
  const absl::Status told = Tell({&change, 1}, Wait::kForDevice)[0];
  if (!told.ok()) return NotInDevice("deleted, but the device still has it", told);
  return deleted;
}

void Roster::DeleteExpired(absl::Time expired_by, size_t count,
                           std::function<void(const absl::StatusOr<size_t>&)> done) {
  auto deleted = std::make_shared<std::vector<store::Peer>>();
  committer_->Submit(
      [=](store::Writer& writer) -> absl::Status {
        WICKET_ASSIGN_OR_RETURN(*deleted, writer.DeleteExpired(expired_by, count));
        return absl::OkStatus();
      },
      [this, deleted, done = std::move(done)](const absl::Status& status) {
        if (!status.ok()) return done(status);
        std::vector<Change> changes;
        for (const store::Peer& peer : *deleted) {
          changes.push_back({peer.device, peer.config.public_key, true, event::Kind::kExpired});
        }
        Tell(changes, Wait::kNo);
        done(deleted->size());
      });
}

// --- replay -----------------------------------------------------------------

absl::Status Roster::ResetReplay(absl::string_view device, const PublicKey& key) {
  // Before and after: the device's thread may save what it knows in between.
  devices_->ForgetMark(device, key).IgnoreError();
  WICKET_RETURN_IF_ERROR(Commit([&](store::Writer& writer) -> absl::Status {
    WICKET_ASSIGN_OR_RETURN(const store::Peer peer, writer.FindPeer(key));
    if (peer.device != device) {
      return absl::NotFoundError(absl::StrCat("the peer is stored for device ", peer.device));
    }
    auto session = writer.FindSession(key);
    if (!session) return absl::OkStatus();
    session->mark = {};
    session->last_handshake = absl::UnixEpoch();  // a mark is drawn from it too
    return writer.PutSession(key, *session);
  }));
  return devices_->ForgetMark(device, key);
}

// --- commit, then devices, then events --------------------------------------

// Unavailable is what a device is, so a disk must not be.
absl::Status Roster::Commit(store::Committer::Change change) {
  const absl::Status status = committer_->Commit(std::move(change));
  return absl::IsUnavailable(status) ? absl::AbortedError(status.message()) : status;
}

// Requires: the changes are committed. Returns: what each device said, in order.
std::vector<absl::Status> Roster::Tell(std::span<const Change> changes, Wait wait) {
  std::vector<absl::Status> told(changes.size());
  std::map<std::string, std::vector<size_t>> by_device;
  for (size_t i = 0; i < changes.size(); ++i) {
    if (changes[i].sync) by_device[changes[i].device].push_back(i);
  }
  for (const auto& [device, places] : by_device) {
    std::vector<PublicKey> keys;
    for (const size_t i : places) keys.push_back(changes[i].key);
    if (wait == Wait::kNo) {
      devices_->SyncLater(device, std::move(keys));
      continue;
    }
    std::vector<absl::Status> said = Sync(device, keys);
    for (size_t i = 0; i < places.size(); ++i) told[places[i]] = std::move(said[i]);
  }
  for (const Change& change : changes) {
    if (!change.kind) continue;
    events_->Append(
        {.kind = *change.kind, .at = WallNow(), .device = change.device, .peer = change.key});
  }
  return told;
}

std::vector<absl::Status> Roster::Sync(const std::string& device, std::span<const PublicKey> keys) {
  std::vector<absl::Status> said = devices_->Sync(device, keys);
  said.resize(keys.size(), absl::InternalError("the device gave no answer"));
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < keys.size(); ++i) {
    if (said[i].ok()) {
      unsynced_.erase(keys[i]);
    } else if (unsynced_.size() < kUnsyncedMax) {
      unsynced_.insert(keys[i]);
    }
  }
  return said;
}

bool Roster::IsUnsynced(const PublicKey& key) {
  const std::lock_guard lock(mutex_);
  return unsynced_.contains(key);
}

}  // namespace wicket::roster
