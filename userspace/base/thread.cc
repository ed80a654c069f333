#include "base/thread.h"

#include <pthread.h>
#include <sys/resource.h>

#include <string>

namespace wicket {

void NameThread(absl::string_view name) {
  pthread_setname_np(pthread_self(), std::string(name.substr(0, 15)).c_str());
}

void ServePackets() {
  constexpr int kNice = -10;
  setpriority(PRIO_PROCESS, 0, kNice);  // in Linux 0 is the calling thread
}

}  // namespace wicket
