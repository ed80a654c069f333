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
  std::string pin_dir;   // empty: a version before steer_owner, or not bound to its program yet
  uint32_t process = 0;  // in its own PID namespace
  // Its pin_dir is locked. Where no pin_dir is known, or that folder is not seen from here with the
  // program's maps in it, as from another mount namespace: a shard has beaten its heartbeat within
  // 3 s. The process number is only for people: it may be of another namespace, or used again.
  bool lives = false;
};

// `map_ids`: of a steer program. Takes the lock of the owner's pin_dir for a moment if it is free.
// Requires: CAP_SYS_ADMIN.
Owner OwnerOf(const std::set<uint32_t>& map_ids);

// The process that last made this version's pins under `pin_dir` its own; 0: none has, or they
// cannot be read.
uint32_t ProcessOf(const std::string& pin_dir);

// "the gateway with pin_dir /sys/fs/bpf/wicket (process 4711)"; without a pin_dir: "a gateway
// of an older version".
std::string ToString(const Owner& owner);

// Makes this process the owner. `owner_fd`: the map steer_owner. Of `pin_dir` the first 251 bytes
// are kept. Errors: those of the map's update. Requires: the lock of `pin_dir`.
absl::Status WriteOwner(int owner_fd, const std::string& pin_dir);

}  // namespace wicket::xsk
