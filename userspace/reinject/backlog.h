// The handshake backlog of a kernel WireGuard device.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/status.h"

struct backlog_bpf;

namespace wicket::reinject {

// Thread: one.
class Backlog {
 public:
  // `ifindex`: of the device, in this thread's network namespace.
  // Errors: no type information (BTF) of the kernel or of WireGuard, types that do not match, or no
  //         right to read the kernel's memory. A device that is not there is no error.
  // Cost:   some 100 ms, to read the types of the kernel and its modules.
  static absl::StatusOr<std::unique_ptr<Backlog>> Open(int ifindex);
  ~Backlog();

  // Returns: the handshakes that are queued or being answered; nullopt when the device cannot be
  //          found: it is down, gone, or has its socket in another network namespace. The search is
  //          repeated at most once a second.
  // Cost:    1 us; a search looks at each UDP socket of the namespace.
  std::optional<uint32_t> Waiting(uint64_t now_ns);

 private:
  Backlog() = default;
  void Find();

  struct Destroy {
    void operator()(backlog_bpf* skeleton) const;
  };
  std::unique_ptr<backlog_bpf, Destroy> programs_;
  uint64_t next_find_ns_ = 0;
};

}  // namespace wicket::reinject
