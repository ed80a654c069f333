// Log lines on standard error, as journald wants them.
//
// Each line begins with its syslog priority in angle brackets when standard error is the journal's.
// A line names a peer only after it has proven its key, and by Abbreviate(). Nothing is logged for
// a packet as such: what a packet did is counted.
#pragma once

#include "absl/strings/string_view.h"

#include "absl/strings/str_cat.h"

namespace wicket {

enum class LogLevel : int { kError = 3, kWarning = 4, kInfo = 6, kDebug = 7 };

// Thread: any; a line is written by one write(2), by a LogThread where there is one.
void WriteLog(LogLevel level, absl::string_view line);
void SetLogLevel(LogLevel most_verbose);
bool LogEnabled(LogLevel level);

// Writes the lines of all threads while it lives, so that a log that nobody reads stops none of
// them: beyond kLinesMax waiting lines, lines are dropped, and how many is logged in their place.
//
// Thread: one makes and destroys it.
class LogThread {
 public:
  static constexpr size_t kLinesMax = 4096;

  LogThread();
  // Writes what waits, for as long as the reader takes it.
  ~LogThread();
  LogThread(const LogThread&) = delete;
};

template <typename... Parts>
void Log(LogLevel level, const Parts&... parts) {
  if (LogEnabled(level)) WriteLog(level, absl::StrCat(parts...));
}

}  // namespace wicket
