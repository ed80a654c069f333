// The gateway that a program on a hook belongs to.
//
// A gateway writes its name into steer_owner and binds that map to its program. So the way from
// an interface to the name is: hook -> program -> map ids -> steer_owner.
#pragma once

#include <cstdint>
#include <set>
#include <string>

#include "base/status.h"

namespace wicket::xsk {

struct Owner {
  std::string pin_dir;   // empty: the program is of a version before steer_owner
  uint32_t process = 0;  // in its own PID namespace
  // Its pin_dir is locked. If that folder cannot be seen from here, as in another mount
  // namespace: a shard has beaten its heartbeat within 3 s. The process number is only for people:
  // it may be of another namespace, or used again.
  bool lives = false;
};

// `map_ids`: of a steer program. Requires: CAP_SYS_ADMIN.
Owner OwnerOf(const std::set<uint32_t>& map_ids);

// The process that last made the pins under `pin_dir` its own; 0: nobody has.
uint32_t ProcessOf(const std::string& pin_dir);

// "the gateway with pin_dir /sys/fs/bpf/wicket (process 4711)"
std::string ToString(const Owner& owner);

// Makes this process the owner.
absl::Status WriteOwner(int owner_fd, const std::string& pin_dir);

}  // namespace wicket::xsk
