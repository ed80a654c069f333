// Signals that end or reload a program, as something to read.
#pragma once

#include <initializer_list>

#include "base/fd.h"

namespace wicket {

// Blocks `signals`, and ignores SIGPIPE. Before any thread is made: threads inherit that.
// Returns: a signalfd of them, not valid() if there is none. `flags`: beside SFD_CLOEXEC.
Fd TakeSignals(std::initializer_list<int> signals, int flags = 0);

}  // namespace wicket
