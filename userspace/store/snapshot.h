// One thread's view of the store.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/status.h"
#include "store/record.h"
#include "store/tables.h"

struct MDB_txn;

namespace wicket::store {

// Which peers a listing is about. What is set must all hold.
struct Selection {
  std::string device;                                        // empty: any
  std::optional<std::pair<std::string, std::string>> label;  // needs a device
  std::optional<Prefix> within;                  // an allowed ip lies in it; needs a device
  absl::Time expired_by = absl::InfinitePast();  // expires at or before; InfinitePast: any

  bool Admits(const Peer& peer) const;
};

// A read transaction, renewed per batch of packets.
//
// Thread:   one at a time.
// Lifetime: what Find and View return points into the map and is good until the
//           next Renew or Release.
class Snapshot {
 public:
  Snapshot(Snapshot&&) noexcept;
  Snapshot& operator=(Snapshot&&) noexcept;
  ~Snapshot();

  // Moves the view to the latest commit. Cost: no allocation, no lock.
  absl::Status Renew();
  // Lets the writer reuse the pages this view holds; Renew before the next use.
  void Release();

  enum class Found { kYes, kNo, kDamaged };
  Found ViewPeer(const PublicKey& key, PeerView* view) const;
  // Returns: nullopt when absent or damaged.
  std::optional<Session> FindSession(const PublicKey& key) const;
  // Errors: NotFound; DataLoss when the record is damaged.
  absl::StatusOr<Peer> FindPeer(const PublicKey& key) const;
  // The key that owns exactly this prefix on this device.
  std::optional<PublicKey> FindPrefix(absl::string_view device, const Prefix& prefix) const;

  // True from a peer's deletion until Writer::ForgetRevoked.
  bool IsRevoked(absl::string_view device, const PublicKey& key) const;
  // The peer that the device would send a packet for `address` to.
  std::optional<PublicKey> FindAddress(absl::string_view device, const Address& address) const;

  // Calls `visit` for the peers after `*cursor`, in key order, at most `count`,
  // and moves the cursor. Returns: how many were visited; fewer than `count` at the end.
  // Errors: DataLoss names the first damaged record.
  absl::StatusOr<size_t> Walk(std::optional<PublicKey>* cursor, size_t count,
                              const std::function<void(Peer)>& visit) const;

  // Calls `visit` for selected peers until it returns false, reading at most
  // `entries_max` entries of the index that narrows the selection most. Each peer
  // comes once. `*cursor` is empty at first, and again when the end was reached.
  // Errors: InvalidArgument for a cursor of another selection; DataLoss.
  absl::Status List(const Selection& selection, size_t entries_max, std::string* cursor,
                    const std::function<bool(Peer)>& visit) const;

  struct Findings {
    uint64_t peers = 0, sessions = 0, index_entries = 0, problems = 0;
  };
  // Checks every record's checksum, and that records and indexes agree. `problem` is
  // told of each disagreement, `progress` now and then of the entries read so far.
  // A damaged file may end the process here: run it in one of its own.
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
