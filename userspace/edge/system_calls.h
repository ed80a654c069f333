// The system calls that a program may make that reads what strangers send.
#pragma once

#include <sys/socket.h>

namespace wicket::edge {

// Beside what every program of threads needs: connections, files read again by a reload, and what
// new threads of the server set.
inline constexpr char kSystemCalls[] =
    "accept4 access capset connect faccessat faccessat2 fadvise64 getpeername getsockname "
    "getsockopt lstat open openat readlink readlinkat recvfrom recvmsg sched_setattr sendmsg "
    "sendto setpriority setsockopt shutdown signalfd4 stat statx";
inline constexpr int kSocketFamilies[] = {AF_UNIX};

}  // namespace wicket::edge
