// A user-space WireGuard implementation, over the cross-platform UAPI socket.
#pragma once

#include <memory>
#include <string>

#include "wgdev/device.h"

namespace wicket::wgdev {

// "/var/run/wireguard/NAME.sock"
std::string UapiSocketPath(const std::string& name);

// `progress`: as of Open().
// Source: https://www.wireguard.com/xplatform/
absl::StatusOr<std::unique_ptr<Device>> OpenUapi(const std::string& name,
                                                 std::function<void()> progress);

// Parses the answer to a request, which may be cut into pieces anywhere.
//
// Secrets: wipes its buffers; the private key is copied to `info` only.
class UapiAnswer {
 public:
  ~UapiAnswer() { explicit_bzero(line_.data(), line_.size()); }

  // Appends the peers that `bytes` completes.
  // Returns: true when the answer is complete.
  // Errors:  the errno at the end of the answer; InvalidArgument for a line that cannot be read, or
  //          an answer without an errno.
  absl::StatusOr<bool> Consume(absl::string_view bytes, std::vector<PeerStats>* peers);

  // True when the answer was read to its end, even if it is a refusal.
  bool complete() const { return complete_; }

  DeviceInfo info;

 private:
  absl::Status ConsumeLine(absl::string_view line, std::vector<PeerStats>* peers);

  std::string line_;
  PeerStats peer_;
  bool in_peer_ = false;
  bool complete_ = false;
  int error_number_ = -1;
};

}  // namespace wicket::wgdev
