// Snapshot::Verify: reads everything once, and each index entry's record again.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "store/lmdb_values.h"
#include "store/snapshot.h"

namespace wicket::store {
namespace {

constexpr uint64_t kProgressStep = 10'000;

// Calls `visit` for every entry of a table.
absl::Status ForEach(MDB_txn* txn, unsigned table, const char* name,
                     const std::function<void(absl::string_view, absl::string_view)>& visit) {
  const Cursor cursor = OpenCursor(txn, table);
  if (!cursor) return absl::ResourceExhaustedError("mdb_cursor_open(): no memory");
  MDB_val key{}, value{};
  int code = mdb_cursor_get(cursor.get(), &key, &value, MDB_FIRST);
  for (; code == MDB_SUCCESS; code = mdb_cursor_get(cursor.get(), &key, &value, MDB_NEXT)) {
    visit(View(key), View(value));
  }
  if (code == MDB_NOTFOUND) return absl::OkStatus();
  return LmdbStatus(code, absl::StrCat("mdb_cursor_get(", name, ")"), "snapshot");
}

// Walks all tables, reports each problem, and counts.
class Verifier {
 public:
  using Text = absl::string_view;

  Verifier(const Snapshot* snapshot, MDB_txn* txn, const Tables& tables,
           const std::function<void(const std::string&)>& problem,
           const std::function<void(uint64_t)>& progress)
      : snapshot_(snapshot), txn_(txn), tables_(tables), problem_(problem), progress_(progress) {}

  absl::Status Run() {
    WICKET_RETURN_IF_ERROR(Walk(tables_.peers, "peers", &Verifier::CheckPeer));
    WICKET_RETURN_IF_ERROR(Walk(tables_.sessions, "sessions", &Verifier::CheckSession));
    WICKET_RETURN_IF_ERROR(Walk(tables_.prefixes, "prefixes", &Verifier::CheckPrefix));
    WICKET_RETURN_IF_ERROR(Walk(tables_.expiries, "expiries", &Verifier::CheckEntry));
    return Walk(tables_.labels, "labels", &Verifier::CheckEntry);
  }
  const Snapshot::Findings& findings() const { return findings_; }

 private:
  absl::Status Walk(unsigned table, const char* name,
                    void (Verifier::*check)(Text key, Text value)) {
    return ForEach(txn_, table, name, [&](Text key, Text value) {
      if (++read_ % kProgressStep == 0) progress_(read_);
      (this->*check)(key, value);
    });
  }
  void Complain(const std::string& text) {
    ++findings_.problems;
    problem_(text);
  }
  bool Has(unsigned table, const std::string& entry) const {
    MDB_val key = Val(Text(entry)), value;
    return mdb_get(txn_, table, &key, &value) == MDB_SUCCESS;
  }

  void CheckPeer(Text key, Text value) {
    const auto public_key = key.size() == kKeyBytes ? KeyAtEnd(key) : std::nullopt;
    if (!public_key) return Complain("peers: a key is not 32 bytes");
    const auto peer = DecodePeer(*public_key, value);
    if (!peer) return Complain(std::string(Damaged(*public_key).message()));
    ++findings_.peers;
    const std::string who = absl::StrCat("peer ", Abbreviate(*public_key), ": ");
    for (const Prefix& prefix : peer->config.allowed_ips) {
      if (snapshot_->FindPrefix(peer->device, prefix) != public_key) {
        Complain(absl::StrCat(who, ToString(prefix), " is not noted as its own"));
      }
    }
    if (peer->expires != absl::InfiniteFuture() &&
        !Has(tables_.expiries, ExpiryKey(peer->expires, *public_key))) {
      Complain(absl::StrCat(who, "it would not expire"));
    }
    for (const auto& [name, text] : peer->labels) {
      if (!Has(tables_.labels, LabelKey(peer->device, name, text) + std::string(key))) {
        Complain(absl::StrCat(who, "label ", name, " does not lead to it"));
      }
    }
  }

  void CheckSession(Text key, Text value) {
    const auto public_key = key.size() == kKeyBytes ? KeyAtEnd(key) : std::nullopt;
    if (!public_key || !DecodeSession(*public_key, value)) {
      return Complain("sessions: a record is damaged");
    }
    ++findings_.sessions;
  }

  void CheckPrefix(Text key, Text value) {
    ++findings_.index_entries;
    const auto owner = value.size() == kKeyBytes ? KeyAtEnd(value) : std::nullopt;
    if (!owner) return Complain("prefixes: an owner is not 32 bytes");
    const auto peer = snapshot_->FindPeer(*owner);
    const auto is_entry = [&](const Prefix& prefix) {
      return PrefixKey(peer->device, prefix) == key;
    };
    if (peer.ok() &&
        std::any_of(peer->config.allowed_ips.begin(), peer->config.allowed_ips.end(), is_entry)) {
      return;
    }
    Complain(absl::StrCat("prefixes: an entry of ", Abbreviate(*owner),
                          " that its record does not know"));
  }

  void CheckEntry(Text key, Text) {
    ++findings_.index_entries;
    if (!KeyAtEnd(key)) Complain("an index entry is too short for a public key");
  }

  const Snapshot* snapshot_;
  MDB_txn* txn_;
  const Tables& tables_;
  const std::function<void(const std::string&)>& problem_;
  const std::function<void(uint64_t)>& progress_;
  Snapshot::Findings findings_;
  uint64_t read_ = 0;
};

}  // namespace

absl::StatusOr<Snapshot::Findings> Snapshot::Verify(
    const std::function<void(const std::string&)>& problem,
    const std::function<void(uint64_t)>& progress) const {
  Verifier verifier(this, txn_, tables_, problem, progress);
  WICKET_RETURN_IF_ERROR(verifier.Run());
  return verifier.findings();
}

}  // namespace wicket::store
