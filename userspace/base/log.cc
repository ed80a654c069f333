#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "absl/time/time.h"
#include "base/clock.h"
#include "base/thread.h"

namespace wicket {
namespace {

std::atomic<int> g_most_verbose{static_cast<int>(LogLevel::kInfo)};

// The lines that wait for a LogThread.
struct Lines {
  std::mutex mutex;  // held only to move a line
  std::condition_variable changed;
  std::deque<std::string> waiting;
  uint64_t dropped = 0;
  bool taken = false;  // a LogThread writes the lines
  bool idle = true;
  bool stop = false;
};

Lines& TheLines() {
  static Lines* const lines = new Lines;
  return *lines;
}

constexpr auto kLastWords = std::chrono::seconds(1);

void Print(const std::string& text) {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, text.data(), text.size());
}

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

namespace {

std::string Format(LogLevel level, absl::string_view line) {
  static const bool to_journal = getenv("JOURNAL_STREAM") != nullptr;
  return to_journal ? absl::StrCat("<", static_cast<int>(level), ">", line, "\n")
                    : absl::StrCat(absl::FormatTime("%H:%M:%E6S", WallNow(), absl::LocalTimeZone()),
                                   " ", NameOf(level), " ", line, "\n");
}

// Detached, since a write may block for ever.
void PrintLines() {
  NameThread("log");
  DropRights();
  Lines& lines = TheLines();
  std::unique_lock lock(lines.mutex);
  for (;;) {
    lines.idle = lines.waiting.empty() && lines.dropped == 0;
    if (lines.idle) lines.changed.notify_all();
    if (lines.idle && lines.stop) return;
    if (lines.idle) {
      lines.changed.wait(lock);
      continue;
    }
    const uint64_t dropped = std::exchange(lines.dropped, 0);
    std::deque<std::string> batch = std::exchange(lines.waiting, {});
    lock.unlock();
    for (const std::string& line : batch) Print(line);
    if (dropped > 0) {
      Print(Format(LogLevel::kWarning, absl::StrCat(dropped, " lines were dropped here")));
    }
    lock.lock();
  }
}

}  // namespace

void WriteLog(LogLevel level, absl::string_view line) {
  std::string text = Format(level, line);
  Lines& lines = TheLines();
  {
    const std::lock_guard lock(lines.mutex);
    if (lines.taken) {
      if (lines.waiting.size() >= LogThread::kLinesMax) {
        ++lines.dropped;
        return;
      }
      lines.waiting.push_back(std::move(text));
      lines.changed.notify_all();
      return;
    }
  }
  Print(text);
}

LogThread::LogThread() {
  Lines& lines = TheLines();
  {
    const std::lock_guard lock(lines.mutex);
    lines.taken = true;
    lines.stop = false;
  }
  std::thread(PrintLines).detach();
}

LogThread::~LogThread() {
  Lines& lines = TheLines();
  std::unique_lock lock(lines.mutex);
  lines.taken = false;
  lines.stop = true;
  lines.changed.notify_all();
  lines.changed.wait_for(lock, kLastWords, [&] { return lines.idle && lines.waiting.empty(); });
}

}  // namespace wicket
