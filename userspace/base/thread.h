// What a thread tells the system about itself. Each is called by the thread that it is about.
#pragma once

#include "absl/strings/string_view.h"

namespace wicket {

// As `top -H` shows it: the first 15 bytes.
void NameThread(absl::string_view name);

// For a thread that packets wait for: it comes before ordinary ones, as nice -10. A processor
// that drops a flood does so in a kernel thread of ordinary priority; a proof of a newcomer's
// would wait there for its turn. Without CAP_SYS_NICE nothing changes, and the log says so, once.
void ServePackets();

}  // namespace wicket
