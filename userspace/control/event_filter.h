// Which events a watcher wants, from the query of its request.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/status.h"
#include "event/event_log.h"
#include "http/target.h"

namespace wicket::control {

// What is empty admits everything.
struct EventFilter {
  std::vector<std::string> kinds;
  std::string device;
  std::optional<PublicKey> peer;
  std::optional<Prefix> source;
  std::string reason;

  bool Admits(const event::Event& event) const;
};

// Errors: InvalidArgument, with FieldOf(), for an unknown parameter, kind, key or prefix.
absl::StatusOr<EventFilter> ParseEventFilter(const http::Target& target);

}  // namespace wicket::control
