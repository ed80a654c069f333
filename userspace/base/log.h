// Log lines: on standard error, or as entries of the journal.
//
// When standard error is the journal, a line starts with its syslog priority in angle brackets. One
// about a device or a peer is an entry instead, with the fields WICKET_DEVICE and WICKET_PEER, the
// whole key: `journalctl WICKET_PEER=KEY` finds it. Elsewhere a line starts with time and level.
//
// A line names a peer only after the peer has proven its key, or when it was found in the device,
// and by Abbreviate(). What a packet did is counted; a line about a single packet is at debug
// level, or rate-limited.
#pragma once

#include "absl/strings/string_view.h"

#include "absl/strings/str_cat.h"
#include "base/key.h"

namespace wicket {

enum class LogLevel : int { kError = 3, kWarning = 4, kInfo = 6, kDebug = 7 };

// What a line is about. It begins "DEVICE: " or "DEVICE: peer ABBREVIATION".
struct About {
  absl::string_view device;
  const PublicKey* peer = nullptr;
};

// Thread: any while there is a LogThread, otherwise one. One write(2) or sendto(2) a line, by the
// LogThread if there is one.
void WriteLog(LogLevel level, const About& about, absl::string_view line);
void SetLogLevel(LogLevel most_verbose);
bool LogEnabled(LogLevel level);

// Writes the lines of all threads while it lives, so that no thread blocks on a log that nobody
// reads. Beyond kLinesMax waiting lines, lines are dropped, and their number is logged instead.
//
// Thread: constructed and destroyed by one.
class LogThread {
 public:
  static constexpr size_t kLinesMax = 4096;

  LogThread();
  // Writes the waiting lines, and gives up after a second.
  ~LogThread();
  // How long the line under way has been written so far; 0: none is. Thread: any.
  static double BusySeconds();
  LogThread(const LogThread&) = delete;
};

template <typename... Parts>
void Log(LogLevel level, const About& about, const Parts&... parts) {
  if (LogEnabled(level)) WriteLog(level, about, absl::StrCat(parts...));
}
template <typename... Parts>
void Log(LogLevel level, const Parts&... parts) {
  if (LogEnabled(level)) WriteLog(level, {}, absl::StrCat(parts...));
}

}  // namespace wicket
