// The latest status, for everything that shows it: one immutable structure.
//
// The gateway publishes one each second. The status file, the control interface and the command
// line read it, and nothing that serves packets waits for a reader.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "base/fd.h"
#include "document/status_text.h"
#include "report/history.h"
#include "report/lately.h"

namespace wicket::report {

class Reporter {
 public:
  // Takes the status file for this process, for as long as this lives.
  // Errors: FailedPrecondition names the process that has it; others the folder or file that
  //         cannot be used.
  static absl::StatusOr<std::unique_ptr<Reporter>> Open(const std::string& path);
  // Removes the status file, and its lock.
  ~Reporter();

  // Thread: one. Errors: the file was not written, and readers of latest() see the status all the
  //         same.
  absl::Status Publish(document::Status status);
  // Thread: any. Never null.
  std::shared_ptr<const document::Status> latest() const;
  // Thread: any.
  const History& history() const { return history_; }
  // The latest status for Prometheus, made once for all callers, while the others wait. `complete`
  // adds to a copy of it what only readers of the metrics need; that of the first to ask counts for
  // all. Thread: any.
  std::string Metrics(const std::function<void(document::Status*)>& complete);

 private:
  Reporter(std::string path, Fd lock) : path_(std::move(path)), lock_(std::move(lock)) {}

  const std::string path_;
  Fd lock_;
  mutable std::mutex mutex_;  // held to copy a pointer
  std::shared_ptr<const document::Status> latest_ = std::make_shared<const document::Status>();
  History history_;
  Lately lately_;
  std::mutex page_mutex_;  // held while the page is made; of readers alone
  std::shared_ptr<const document::Status> page_of_;
  std::string page_;
};

}  // namespace wicket::report
