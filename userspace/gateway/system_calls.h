// The system calls that wicketd may make once it serves: files, sockets, BPF and thread settings.
//
// Some of its threads hold CAP_SYS_ADMIN and CAP_NET_ADMIN. What those would also allow is not in
// the list: other namespaces and roots, mounts, modules, other processes and their memory, users.
// And none of execve, fork, ptrace. But `bpf` is, and with CAP_SYS_ADMIN its programs can read all
// memory. A call that the tests do not reach but a library may make in another environment belongs
// in the list; the list is not a minimum.
#pragma once

#include <linux/if_xdp.h>
#include <sys/socket.h>

namespace wicket::gateway {

inline constexpr char kSystemCalls[] =
    // files
    "access chmod chown close_range dup dup2 dup3 faccessat faccessat2 fadvise64 fallocate "
    "fchmod fchmodat fchown fchownat fdatasync flock fstatfs fsync ftruncate getcwd getdents64 "
    "ioctl link linkat lstat mkdir mkdirat msync open openat preadv pwritev readlink readlinkat "
    "rename renameat renameat2 rmdir stat statfs statx sync_file_range umask unlink unlinkat "
    "utimensat "
    // memory
    "get_mempolicy memfd_create mincore mlock mlock2 munlock "
    // sockets
    "accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg "
    "recvmsg sendmmsg sendmsg sendto setsockopt shutdown socketpair "
    // XDP programs and their maps
    "bpf perf_event_open "
    // threads and what they wait for
    "capget capset epoll_pwait2 eventfd get_robust_list getcpu getpriority getrlimit getrusage "
    "pipe2 prlimit64 pselect6 rt_sigpending rt_sigtimedwait sched_get_priority_max "
    "sched_get_priority_min sched_getattr sched_getparam sched_getscheduler sched_setaffinity "
    "sched_setattr select setpriority setrlimit set_tid_address signalfd4 timerfd_create "
    "timerfd_gettime timerfd_settime times";

inline constexpr int kSocketFamilies[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_XDP};

}  // namespace wicket::gateway
