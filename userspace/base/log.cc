#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace wicket {
namespace {

std::atomic<int> g_most_verbose{static_cast<int>(LogLevel::kInfo)};

absl::string_view NameOf(LogLevel level) {
  switch (level) {
    case LogLevel::kError:
      return "error";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kDebug:
      return "debug";
  }
  return "?";
}

}  // namespace

void SetLogLevel(LogLevel most_verbose) { g_most_verbose = static_cast<int>(most_verbose); }

bool LogEnabled(LogLevel level) {
  return static_cast<int>(level) <= g_most_verbose.load(std::memory_order_relaxed);
}

void WriteLog(LogLevel level, absl::string_view line) {
  static const bool to_journal = getenv("JOURNAL_STREAM") != nullptr;
  std::string text =
      to_journal ? absl::StrCat("<", static_cast<int>(level), ">", line, "\n")
                 : absl::StrCat(absl::FormatTime("%H:%M:%E6S", absl::Now(), absl::LocalTimeZone()),
                                " ", NameOf(level), " ", line, "\n");
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

}  // namespace wicket
