// A read transaction: one commit of the store, as one thread sees it.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/status.h"
#include "store/address_pool.h"
#include "store/record.h"
#include "store/tables.h"

struct MDB_txn;

namespace wicket::store {

// The peers that a listing is about. A peer must match every field that is set.
struct Selection {
  std::string device;                                        // empty: any
  std::optional<std::pair<std::string, std::string>> label;  // needs a device
  std::optional<Prefix> within;                  // an allowed ip lies in it; needs a device
  absl::Time expired_by = absl::InfinitePast();  // expires at or before it; InfinitePast: any

  bool Admits(const Peer& peer) const;
};

// Renewed per batch of packets.
//
// Thread:   one at a time.
// Lifetime: the Store outlives it.
class Snapshot {
 public:
  Snapshot(Snapshot&&) noexcept;
  Snapshot& operator=(Snapshot&&) noexcept;
  ~Snapshot();

  // Moves to the latest commit. After an error it is released. Cost: no allocation, no lock.
  absl::Status Renew();
  // Lets the writer reuse the pages of this commit. Renew before the next use.
  void Release();

  enum class Found { kYes, kNo, kDamaged };
  // Lifetime: `*view` points into the map, and is valid until the next Renew or Release.
  Found ViewPeer(const PublicKey& key, PeerView* view) const;
  // Returns: nullopt when there is none, or the record is damaged.
  std::optional<Session> FindSession(const PublicKey& key) const;
  // Errors: NotFound; DataLoss when the record is damaged.
  absl::StatusOr<Peer> FindPeer(const PublicKey& key) const;
  // How much of a pool's CIDR has been given out.
  CidrUse UseOfCidr(absl::string_view device, const Prefix& cidr) const;
  // The peer that has exactly this prefix on this device.
  std::optional<PublicKey> FindPrefix(absl::string_view device, const Prefix& prefix) const;

  // True from a peer's deletion until Writer::ForgetRevoked.
  bool IsRevoked(absl::string_view device, const PublicKey& key) const;
  // The peer to which the device would send a packet for `address`.
  std::optional<PublicKey> FindAddress(absl::string_view device, const Address& address) const;

  // Calls `visit` for at most `count` peers after `*cursor`, in the order of their keys,
  // and moves the cursor.
  // Returns: the number of visits; fewer than `count` at the end.
  // Errors: DataLoss names the first damaged record.
  absl::StatusOr<size_t> Walk(std::optional<PublicKey>* cursor, size_t count,
                              const std::function<void(Peer)>& visit) const;

  // Calls `visit` for the selected peers, once each, until it returns false. One call reads
  // at most `entries_max` entries of one index: that of `within`, else of `label`, else of
  // `expired_by`, else all peers. Pass an empty `*cursor` first; it is empty again when the end is
  // reached.
  // Errors: InvalidArgument for a cursor outside the selection's entries; DataLoss.
  absl::Status List(const Selection& selection, size_t entries_max, std::string* cursor,
                    const std::function<bool(Peer)>& visit) const;

  struct Findings {
    uint64_t peers = 0, sessions = 0, index_entries = 0, problems = 0;
  };
  // Checks the checksum of every record, that each peer is in all indexes, and that each prefix is
  // its owner's. Calls `problem` for each fault, and `progress` now and then with the number of
  // entries read so far.
  // A damaged file may crash LMDB here: run it in a process of its own.
  absl::StatusOr<Findings> Verify(const std::function<void(const std::string&)>& problem,
                                  const std::function<void(uint64_t)>& progress) const;

 private:
  friend class Store;
  Snapshot(MDB_txn* txn, Tables tables) : txn_(txn), tables_(tables) {}

  MDB_txn* txn_ = nullptr;
  Tables tables_{};
  bool live_ = true;
};

}  // namespace wicket::store
