#include "base/thread.h"

#include <errno.h>
#include <linux/capability.h>
#include <pthread.h>
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

void ServeOperators() {
  constexpr int kNice = 5;
  setpriority(PRIO_PROCESS, 0, kNice);
}

void DropRights() {
  prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};  // 0: this thread
  __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {};
  if (syscall(SYS_capset, &header, none) == 0) return;
  Log(LogLevel::kError, "capset(none): ", strerror(errno), "; a thread keeps rights it needs not");
}

}  // namespace wicket
