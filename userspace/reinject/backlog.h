// How many handshakes wait in a WireGuard device of the kernel.
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
  // Cost: some 100 ms, for the types of the kernel and its modules are read.
  // Errors: the kernel does not tell what its types are, or WireGuard's are others.
  static absl::StatusOr<std::unique_ptr<Backlog>> Open(int ifindex);
  ~Backlog();

  // Returns: the handshakes that wait or are being answered; nullopt when the device is not seen:
  // it is down, gone, or has its socket in another network namespace. Then it is looked for again,
  // at most once a second. Cost: 1 us.
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
