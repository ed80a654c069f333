#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/resource.h>

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

}  // namespace wicket
