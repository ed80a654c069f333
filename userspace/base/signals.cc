#include "base/signals.h"

#include <signal.h>
#include <sys/signalfd.h>

namespace wicket {

Fd TakeSignals(std::initializer_list<int> signals, int flags) {
  sigset_t set;
  sigemptyset(&set);
  for (const int one : signals) sigaddset(&set, one);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return Fd(signalfd(-1, &set, SFD_CLOEXEC | flags));
}

}  // namespace wicket
