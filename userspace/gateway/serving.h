// A gateway that outlives its store: started again when the store cannot be used any more.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/calls.h"
#include "gateway/gateway.h"

namespace wicket::gateway {

// Thread: one; but what Reload handlers ask for comes from any, as calls.
class Serving {
 public:
  // `path`: of the configuration file, which is read again by Reload.
  Serving(std::string path, Config config) : path_(std::move(path)), config_(std::move(config)) {}
  // Reloads that are still asked for are refused.
  ~Serving() { calls_->Close(); }

  // Errors: those of Gateway::Start.
  absl::Status Start();
  // To be called about twice a second, and when wake_fd() is readable.
  void Tick();
  // Lifetime: until the next Start() or Tick(), which may make another.
  int wake_fd() const { return calls_->wake_fd(); }

  // Reads the file again and takes what can be taken while running. The service manager is told.
  // Returns: what needs a restart. Errors: every problem of the file, and nothing is taken; or of
  //          what cannot be had here, and the rest is taken.
  absl::StatusOr<std::vector<std::string>> Reload();

  // The name of a thread that hangs; empty: all make progress.
  std::string HangingThread() const;
  std::string Summary() const;

 private:
  void StartAgain();

  const std::string path_;
  Config config_;  // what the next gateway starts with
  installer::Sessions unsaved_;
  std::unique_ptr<Calls> calls_ = std::make_unique<Calls>();  // left by the gateway's threads
  std::unique_ptr<Gateway> gateway_;                          // null: between two
  absl::Duration started_, next_start_, pause_;
};

}  // namespace wicket::gateway
