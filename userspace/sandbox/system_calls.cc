#include "sandbox/system_calls.h"

#include <seccomp.h>
#include <sys/mman.h>

#include <memory>

#include "absl/strings/str_cat.h"

namespace wicket::sandbox {
namespace {

// Threads, memory, time, files that are open.
constexpr const char* kCommon[] = {
    "brk",         "clock_gettime",   "clock_getres",   "clock_nanosleep", "clone",
    "clone3",      "close",           "epoll_create1",  "epoll_ctl",       "epoll_wait",
    "epoll_pwait", "eventfd2",        "exit",           "exit_group",      "fcntl",
    "fstat",       "futex",           "getpid",         "getppid",         "getrandom",
    "gettid",      "gettimeofday",    "getuid",         "geteuid",         "getgid",
    "getegid",     "lseek",           "madvise",        "membarrier",      "munmap",
    "nanosleep",   "newfstatat",      "poll",           "ppoll",           "prctl",
    "pread64",     "pwrite64",        "read",           "readv",           "restart_syscall",
    "rseq",        "rt_sigaction",    "rt_sigprocmask", "rt_sigreturn",    "sched_getaffinity",
    "sched_yield", "set_robust_list", "sigaltstack",    "sysinfo",         "tgkill",
    "uname",       "write",           "writev"};
constexpr const char* kMappings[] = {"mmap", "mprotect"};  // the protection is the third argument

absl::Status Refused(int code, const char* what) {
  return absl::FailedPreconditionError(absl::StrCat("seccomp: ", what, ": ", strerror(-code),
                                                    " (the kernel needs CONFIG_SECCOMP_FILTER)"));
}

}  // namespace

absl::Status AllowOnly(const Allowed& allowed) {
  const std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter(seccomp_init(SCMP_ACT_KILL_PROCESS),
                                                                seccomp_release);
  if (filter == nullptr) return Refused(-ENOMEM, "seccomp_init()");
  seccomp_attr_set(filter.get(), SCMP_FLTATR_CTL_TSYNC, 1);
  int code = 0;
  for (const auto& calls : {std::span<const char* const>(kCommon), allowed.calls}) {
    for (const char* name : calls) {
      const int number = seccomp_syscall_resolve_name(name);
      if (number == __NR_SCMP_ERROR || code != 0) continue;
      code = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, number, 0);
    }
  }
  for (const char* name : kMappings) {
    if (code != 0) break;
    code = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, seccomp_syscall_resolve_name(name), 1,
                            SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
  }
  for (const int family : allowed.socket_families) {
    if (code != 0) break;
    code = seccomp_rule_add(filter.get(), SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                            SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family)));
  }
  if (code != 0) return Refused(code, "seccomp_rule_add()");
  code = seccomp_load(filter.get());
  return code == 0 ? absl::OkStatus() : Refused(code, "seccomp_load()");
}

}  // namespace wicket::sandbox
