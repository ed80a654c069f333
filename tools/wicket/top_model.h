// What `wicket top` shows: rates and their recent history, from one status to the next.
#pragma once

#include <array>
#include <map>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "document/status_text.h"

namespace wicket::tools {

// The last values of one figure, the oldest first.
class History {
 public:
  static constexpr size_t kKept = 120;

  void Add(double value);
  double last() const { return values_.empty() ? 0 : values_.back(); }
  double max() const;
  // The last `width` values as a line of bars of eighths of a cell, scaled to their maximum, with
  // spaces before them up to `width` cells.
  std::string Bars(size_t width) const;

 private:
  std::vector<double> values_;
};

// Thread: one.
class TopModel {
 public:
  // Takes the next status. A status that is no newer than the one before changes nothing.
  void Take(document::Status status);

  bool has_status() const { return taken_; }
  const document::Status& status() const { return status_; }
  // A second, over all devices.
  const History& installs() const { return installs_; }
  const History& confirmed() const { return confirmed_; }
  const History& refused() const { return refused_; }
  const History& dropped() const { return dropped_; }
  // Of the device where it is largest.
  const History& p99_ms() const { return p99_ms_; }
  uint64_t installed() const;
  // Changes a second of each count, by its name; those that stand still are left out. The verdicts
  // include what the installers turned away.
  const std::map<std::string, double>& verdict_rates() const { return verdict_rates_; }
  const std::map<std::string, double>& steering_rates() const { return steering_rates_; }

  // One line of all this, for a pipe or a file.
  std::string Line() const;

 private:
  bool taken_ = false;
  document::Status status_;
  History installs_, confirmed_, refused_, dropped_, p99_ms_;
  std::map<std::string, double> verdict_rates_, steering_rates_;
};

}  // namespace wicket::tools
