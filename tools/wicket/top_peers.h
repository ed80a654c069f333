// The installed peers, as a page of `wicket top` shows them.
#pragma once

#include <string>
#include <vector>

#include "absl/time/time.h"
#include "document/status_text.h"
#include "tools/wicket/connection.h"

namespace wicket::tools {

// Thread: one.
class TopPeers {
 public:
  static constexpr size_t kOfADevice = 1000;  // the first of each device, in the order of keys

  // Asks the daemon for the installed peers of its devices. After an error those of that device are
  // left out.
  void Refresh(Connection& connection, const document::Status& status);
  void SortByNext();
  void Reverse() { descending_ = !descending_; }
  void Scroll(int lines);
  // Two lines of heading, and below them the peers that contain `filter`: at most `count` lines,
  // but never fewer than two.
  std::vector<std::string> Lines(size_t count);

  std::string filter;

 private:
  struct Peer {
    std::string key, device, state, endpoint, labels, allowed_ips;
    uint64_t received = 0, sent = 0;
    absl::Time last_handshake = absl::InfinitePast();
  };
  enum class Column { kHandshake, kReceived, kSent, kKey, kState };

  bool Before(const Peer& a, const Peer& b) const;

  std::vector<Peer> peers_;
  uint64_t installed_ = 0;  // in the devices
  Column column_ = Column::kHandshake;
  bool descending_ = true;
  size_t first_ = 0;
};

}  // namespace wicket::tools
