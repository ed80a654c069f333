#include "base/thread.h"

#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "base/log.h"

namespace wicket {

void NameThread(absl::string_view name) {
  pthread_setname_np(pthread_self(), std::string(name.substr(0, 15)).c_str());
}

void ServePackets() {
  constexpr int kNice = -10;
  static std::atomic<bool> told = false;
  if (setpriority(PRIO_PROCESS, 0, kNice) == 0 || told.exchange(true)) return;  // 0: this thread
  Log(LogLevel::kWarning,
      "packets are served at ordinary priority, and wait behind a flood that is ",
      "dropped: setpriority(", kNice, "): ", strerror(errno), " (give CAP_SYS_NICE)");
}

// Since Linux 6.12 the runtime of an ordinary thread is its slice: the longer, the later its
// deadline, and the sooner a thread that wakes takes its place. Older kernels ignore it.
void ServeOperators() {
  constexpr int kNice = 5;
  constexpr uint64_t kSlice_ns = 50'000'000;
  struct {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
  } attributes{sizeof(attributes), SCHED_OTHER, 0, kNice, 0, kSlice_ns, 0, 0};
  if (syscall(SYS_sched_setattr, 0, &attributes, 0) != 0) setpriority(PRIO_PROCESS, 0, kNice);
}

void DropRights() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};  // 0: this thread
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capset, &header, none) == 0) return;
  Log(LogLevel::kError, "capset(none): ", strerror(errno),
      "; a thread keeps capabilities that it does not need");
}

}  // namespace wicket
