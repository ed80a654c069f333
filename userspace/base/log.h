// Log lines on standard error, as journald wants them.
//
// Each line begins with its syslog priority in angle brackets when standard
// error is the journal's. Never called on the packet path. A line names a peer
// only after it has proven its key, and by Abbreviate().
#pragma once

#include "absl/strings/string_view.h"

#include "absl/strings/str_cat.h"

namespace wicket {

enum class LogLevel : int { kError = 3, kWarning = 4, kInfo = 6, kDebug = 7 };

// Thread: any; a line is written by one write(2).
void WriteLog(LogLevel level, absl::string_view line);
void SetLogLevel(LogLevel most_verbose);
bool LogEnabled(LogLevel level);

template <typename... Parts>
void Log(LogLevel level, const Parts&... parts) {
  if (LogEnabled(level)) WriteLog(level, absl::StrCat(parts...));
}

}  // namespace wicket
