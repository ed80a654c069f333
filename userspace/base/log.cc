#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_replace.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/task_clock.h"
#include "base/thread.h"

namespace wicket {
namespace {

std::atomic<int> g_most_verbose{static_cast<int>(LogLevel::kInfo)};

struct Line {
  LogLevel level;
  absl::Time at;
  std::string text, device, peer;
};

// The lines that wait for a LogThread.
struct Lines {
  std::mutex mutex;  // held only to move a line
  std::condition_variable changed;
  std::deque<Line> waiting;
  uint64_t dropped = 0;
  bool taken = false;  // a LogThread writes the lines
  bool idle = true;
  bool stop = false;
  TaskClock task;  // of the line under way
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

// The journal's own protocol, for entries with fields; [systemd, Native Journal Protocol].
class Journal {
 public:
  // Returns: whether the journal took the entry.
  bool Send(const Line& line) {
    if (!fd_.valid()) fd_ = Fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    // A value with a line feed would need a length before it.
    std::string entry = absl::StrCat(
        "PRIORITY=", static_cast<int>(line.level),
        "\nSYSLOG_IDENTIFIER=", program_invocation_short_name, "\nWICKET_DEVICE=", line.device,
        line.peer.empty() ? "" : "\nWICKET_PEER=", line.peer,
        "\nMESSAGE=", absl::StrReplaceAll(line.text, {{"\n", " "}}), "\n");
    constexpr sockaddr_un kJournal{.sun_family = AF_UNIX,
                                   .sun_path = "/run/systemd/journal/socket"};
    return sendto(fd_.get(), entry.data(), entry.size(), MSG_NOSIGNAL,
                  reinterpret_cast<const sockaddr*>(&kJournal),
                  sizeof(kJournal)) == static_cast<ssize_t>(entry.size());
  }

 private:
  Fd fd_;
};

// Whether standard error is the stream that the journal gave this process, and no file or terminal
// that took its place.
bool WritesToJournal() {
  const char* stream = getenv("JOURNAL_STREAM");
  struct stat info;
  if (stream == nullptr || fstat(STDERR_FILENO, &info) != 0) return false;
  return absl::StrCat(info.st_dev, ":", info.st_ino) == stream;
}

void PrintLine(const Line& line) {
  static const bool to_journal = WritesToJournal();
  static Journal* const journal = new Journal;
  if (!to_journal) {
    return Print(absl::StrCat(absl::FormatTime("%H:%M:%E6S", line.at, absl::LocalTimeZone()), " ",
                              NameOf(line.level), " ", line.text, "\n"));
  }
  if (!line.device.empty() && journal->Send(line)) return;
  const std::string priority = absl::StrCat("<", static_cast<int>(line.level), ">");
  Print(absl::StrCat(priority, absl::StrReplaceAll(line.text, {{"\n", "\n" + priority}}), "\n"));
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
    std::deque<Line> batch = std::exchange(lines.waiting, {});
    lock.unlock();
    for (const Line& line : batch) {
      lines.task.Begin();
      PrintLine(line);
    }
    if (dropped > 0) {
      PrintLine({.level = LogLevel::kWarning,
                 .at = WallNow(),
                 .text = absl::StrCat(dropped, " lines were dropped here")});
    }
    lines.task.End();
    lock.lock();
  }
}

}  // namespace

void WriteLog(LogLevel level, const About& about, absl::string_view text) {
  Line line{.level = level,
            .at = WallNow(),
            .text = std::string(text),
            .device = std::string(about.device)};
  if (about.peer != nullptr) {
    line.peer = ToBase64(*about.peer);
    line.text = absl::StrCat(about.device, ": peer ", Abbreviate(*about.peer), text);
  } else if (!about.device.empty()) {
    line.text = absl::StrCat(about.device, ": ", text);
  }
  Lines& lines = TheLines();
  {
    const std::lock_guard lock(lines.mutex);
    if (lines.taken) {
      if (lines.waiting.size() >= LogThread::kLinesMax) {
        ++lines.dropped;
        return;
      }
      lines.waiting.push_back(std::move(line));
      lines.changed.notify_all();
      return;
    }
  }
  PrintLine(line);
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

double LogThread::BusySeconds() { return TheLines().task.Seconds(); }

LogThread::~LogThread() {
  Lines& lines = TheLines();
  std::unique_lock lock(lines.mutex);
  lines.taken = false;
  lines.stop = true;
  lines.changed.notify_all();
  lines.changed.wait_for(lock, kLastWords, [&] { return lines.idle && lines.waiting.empty(); });
}

}  // namespace wicket
