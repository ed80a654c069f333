#include "sandbox/system_calls.h"

#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>

#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace wicket::sandbox {
namespace {

// Threads, memory, time, files that are open.
constexpr char kCommon[] =
    "brk clock_gettime clock_getres clock_nanosleep close epoll_create1 epoll_ctl epoll_wait "
    "epoll_pwait eventfd2 exit exit_group fcntl fstat futex getpid getppid getrandom gettid "
    "gettimeofday getuid geteuid getgid getegid lseek madvise mremap membarrier munmap nanosleep "
    "newfstatat poll ppoll prctl pread64 pwrite64 read readv restart_syscall rseq rt_sigaction "
    "rt_sigprocmask rt_sigreturn sched_getaffinity sched_yield set_robust_list sigaltstack "
    "sysinfo tgkill uname write writev";

absl::Status Refused(int code, const char* what) {
  return absl::FailedPreconditionError(absl::StrCat("seccomp: ", what, ": ", strerror(-code)));
}

// A filter in the making. After an error it takes no more.
class Filter {
 public:
  Filter() : filter_(seccomp_init(SCMP_ACT_KILL_PROCESS), seccomp_release) {
    if (filter_ == nullptr) return;
    code_ = seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_TSYNC, 1);
    seccomp_attr_set(filter_.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);  // a tree instead of a list
    // Else a call by another ABI ends one thread, and leaves half a process.
    seccomp_attr_set(filter_.get(), SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
  }

  template <typename... Conditions>
  void Add(uint32_t action, const char* name, Conditions... conditions) {
    const int number = seccomp_syscall_resolve_name(name);
    if (filter_ == nullptr || number == __NR_SCMP_ERROR || code_ != 0) return;
    code_ = seccomp_rule_add(filter_.get(), action, number, sizeof...(conditions), conditions...);
  }

  absl::Status Load() {
    if (filter_ == nullptr) {
      return absl::FailedPreconditionError(
          "seccomp: it cannot be used (the kernel needs CONFIG_SECCOMP_FILTER, and a filter of the "
          "service manager must allow the call seccomp)");
    }
    if (code_ != 0) return Refused(code_, "seccomp_rule_add()");
    code_ = seccomp_load(filter_.get());
    return code_ == 0 ? absl::OkStatus() : Refused(code_, "seccomp_load()");
  }

 private:
  std::unique_ptr<void, void (*)(scmp_filter_ctx)> filter_;
  int code_ = 0;
};

}  // namespace

absl::Status AllowOnly(const Allowed& allowed) {
  Filter filter;
  for (const absl::string_view calls : {absl::string_view(kCommon), allowed.calls}) {
    for (const absl::string_view name : absl::StrSplit(calls, ' ')) {
      filter.Add(SCMP_ACT_ALLOW, std::string(name).c_str());
    }
  }
  for (const char* name : {"mmap", "mprotect"}) {
    filter.Add(SCMP_ACT_ALLOW, name, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    // An error and not the end: the C library loads modules of its name service switch when a name
    // is looked up, and does without those that cannot be loaded.
    filter.Add(SCMP_ACT_ERRNO(EPERM), name, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
  }
  for (const int family : allowed.socket_families) {
    filter.Add(SCMP_ACT_ALLOW, "socket", SCMP_A0(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family)));
  }
  // Threads, but no processes. The flags of clone3 are in memory, where no filter sees them; the C
  // library then takes clone.
  filter.Add(SCMP_ACT_ERRNO(ENOSYS), "clone3");
  filter.Add(SCMP_ACT_ALLOW, "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD));
  return filter.Load();
}

}  // namespace wicket::sandbox
