// A thread's name, priority and rights. Each function acts on the calling thread.
#pragma once

#include "absl/strings/string_view.h"

namespace wicket {

// The name that `top -H` shows; cut after 15 bytes.
void NameThread(absl::string_view name);

// Raises the priority of a thread that packets wait for, to nice -10. The kernel thread that drops
// a flood has ordinary priority, and the proof of a new client would wait for its turn behind it.
// Without CAP_SYS_NICE or RLIMIT_NICE nothing changes, and the log says so once.
void ServePackets();

// Lowers the priority of a thread that answers operators, to nice 5 and a long slice: a crowd that
// reads must not slow down handshakes, which the kernel or a user-space WireGuard answers at
// ordinary priority.
void ServeOperators();

// Gives up every capability, for good. The threads it makes have none either. So a bug in what such
// a thread reads (packets, requests, records) makes no call that needs one. Memory is shared with
// the threads that keep theirs, though. The log says if it failed.
void DropRights();

}  // namespace wicket
