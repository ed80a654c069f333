// The installed peers with the most bytes, in both directions and ever, for series of their own.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "base/key.h"
#include "document/status_text.h"
#include "store/record.h"

namespace wicket::installer {

// Collects during a dump, and publishes at its end. Cost of a peer that is at no time among
// them: one comparison.
//
// Thread: the installer's; but FillStatus from any.
class Busiest {
 public:
  // `most`: of peers; 0: none are collected.
  explicit Busiest(size_t most) : most_(most) {}

  bool wanted() const { return most_ > 0; }
  void Begin();
  // Requires: wanted().
  void Note(const PublicKey& key, const store::Session& session);
  // At the end of a dump. One that was interrupted may have left peers out, or shown one twice. So
  // those that were told before compete with what it has shown, as `resident` knows them; null: the
  // peer is not in the device.
  void Publish(bool complete,
               const std::function<const store::Session*(const PublicKey&)>& resident);
  // The device appeared or went away.
  void Clear();
  // Sets busiest and peers_capped, or neither when none are wanted or nothing was published.
  // Requires: status->installed is set.
  void FillStatus(document::DeviceStatus* status) const;

 private:
  using Entry = std::pair<uint64_t, document::PeerTraffic>;  // bytes in both directions

  const size_t most_;
  std::vector<Entry> heap_;   // the one with the least traffic first
  mutable std::mutex mutex_;  // held to copy, swap or drop a pointer
  std::shared_ptr<const std::vector<document::PeerTraffic>> published_;
};

}  // namespace wicket::installer
