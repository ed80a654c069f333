#include "report/reporter.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "report/metrics.h"

namespace wicket::report {
namespace {

std::string LockOf(const std::string& path) { return path + ".lock"; }

// Readers see the old file or the new one, and never a part.
absl::Status Replace(const std::string& path, const std::string& text) {
  const std::string fresh = path + ".new";
  const Fd fd(open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat("open(", fresh, ")"));
  // Whatever the umask: the daemon's group, which may connect to the socket, may read it too.
  fchmod(fd.get(), 0640);
  errno = 0;
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(errno ? errno : EIO, absl::StrCat("write(", fresh, ")"));
  }
  if (rename(fresh.c_str(), path.c_str()) != 0) {
    return ErrnoStatus(errno, absl::StrCat("rename(", fresh, ")"));
  }
  return absl::OkStatus();
}

// False when the file was removed after it was opened, as a gateway does that ends.
bool LiesAt(const Fd& file, const std::string& path) {
  struct stat opened, there;
  return fstat(file.get(), &opened) == 0 && stat(path.c_str(), &there) == 0 &&
         opened.st_dev == there.st_dev && opened.st_ino == there.st_ino;
}

std::string Holder(const Fd& lock) {
  char text[32] = {};
  [[maybe_unused]] const ssize_t n = pread(lock.get(), text, sizeof(text) - 1, 0);
  int pid = 0;
  return absl::SimpleAtoi(text, &pid) ? absl::StrCat(", process ", pid, ",") : "";
}

}  // namespace

absl::StatusOr<std::unique_ptr<Reporter>> Reporter::Open(const std::string& path) {
  std::error_code error;
  const auto folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::InternalError(absl::StrCat("status_file ", path, ": ", error.message()));
  }
  const std::string lock_path = LockOf(path);
  Fd lock;
  do {
    lock = Fd(open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640));
    if (!lock.valid()) return ErrnoStatus(errno, absl::StrCat("open(", lock_path, ")"));
    if (flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      return absl::FailedPreconditionError(
          absl::StrCat("status_file ", path, ": another wicketd", Holder(lock),
                       " writes it (stop it, or give this one its own status_file)"));
    }
  } while (!LiesAt(lock, lock_path));
  const std::string pid = absl::StrCat(getpid(), "\n");
  if (ftruncate(lock.get(), 0) != 0 ||
      pwrite(lock.get(), pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    return ErrnoStatus(errno ? errno : EIO, absl::StrCat("write(", lock_path, ")"));
  }
  return std::unique_ptr<Reporter>(new Reporter(path, std::move(lock)));
}

Reporter::~Reporter() {
  unlink(path_.c_str());
  unlink(LockOf(path_).c_str());
}

absl::Status Reporter::Publish(document::Status status) {
  lately_.Fill(&status, SteadyNow());
  const std::string json = document::ToJson(status);
  history_.Note(status, SteadyNow());
  auto published = std::make_shared<const document::Status>(std::move(status));
  {
    const std::lock_guard lock(mutex_);
    latest_.swap(published);
  }
  return Replace(path_, json);
}

std::string Reporter::Metrics(const std::function<void(document::Status*)>& complete) {
  const std::lock_guard lock(page_mutex_);
  auto status = latest();
  if (status != page_of_) {
    document::Status completed = *status;
    complete(&completed);
    page_ = ToPrometheus(completed);
    page_of_ = std::move(status);
  }
  return page_;
}

std::shared_ptr<const document::Status> Reporter::latest() const {
  const std::lock_guard lock(mutex_);
  return latest_;
}

}  // namespace wicket::report
