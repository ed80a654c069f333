// The folder of a BPF file system in which a gateway's maps outlive it.
//
//   PIN_DIR/            flock()ed by the gateway that uses it
//     v8/               maps of one STEER_ABI_VERSION
//       steer_served
//       ...
//       program-3       the program on the interface of index 3, for bpftool's eyes
//     v7/               maps of an older one, while an interface still has their program
//
// A program is ours when it uses the maps of this folder, of whatever version; other gateways
// have their own folders.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "base/fd.h"
#include "base/status.h"

namespace wicket::xsk {

// Sends the warnings of libbpf and libxdp to the log, at debug level. They are for developers; what
// failed, this module says itself.
void QuietLibraries();

std::string MapPin(const std::string& pin_dir, absl::string_view map);
std::string ProgramPin(const std::string& pin_dir, int ifindex);

// Whether ClaimPinDir can make the folder. Touches nothing.
// Errors: FailedPrecondition, its parent is in no BPF file system; or the parent cannot be
//         looked at.
absl::Status CheckPinDir(const std::string& pin_dir);
// Makes the folder for this version's maps, and mounts /sys/fs/bpf when it lies there and nothing
// is mounted. Returns: its lock, which excludes other gateways while it is open.
// Errors: Unavailable when another process has the lock.
absl::StatusOr<Fd> ClaimPinDir(const std::string& pin_dir);
// Opens the folder and takes its lock, if that is free.
// Returns: none, and errno, when it cannot; EWOULDBLOCK: another process has the lock.
Fd LockPinDir(const std::string& pin_dir);

// Returns: the ids of the maps steer_served of all versions; none, and errno, when there are none.
std::set<uint32_t> MapsServed(const std::string& pin_dir);

// Removes the maps of older versions, unless an interface of this network namespace has one of
// their programs. Requires: the lock; CAP_SYS_ADMIN, as of ReadHook().
void ForgetOlder(const std::string& pin_dir);
// Removes our program from every interface of this network namespace, and the folder.
// Requires: CAP_SYS_ADMIN; without it the folder goes and the program stays.
// Returns:  the names of the interfaces it was removed from.
// Errors:   Unavailable when a gateway has the lock; NotFound when nothing is pinned there.
absl::StatusOr<std::vector<std::string>> DetachAll(const std::string& pin_dir);

}  // namespace wicket::xsk
