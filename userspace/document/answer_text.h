// What the control interface answers and tells, but for peers: errors and events.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "event/event_log.h"

namespace wicket::document {

// An error about one field of a request, and that field's name; empty when none is known.
absl::Status AboutField(absl::string_view field, absl::Status status);
std::string FieldOf(const absl::Status& status);

// {"error": {"code", "message", "field"}, "line"}; an empty field and no line are left out.
std::string ToErrorJson(absl::string_view code, absl::string_view message, absl::string_view field,
                        std::optional<uint64_t> line = std::nullopt);
std::string ToJson(const event::Event& event);
// {"reasons": [...]}: why a peer has a session, or none.
std::string ToReasonsJson(const std::vector<std::string>& reasons);
// {"needs_restart": [...]}: what a reload could not apply.
std::string ToReloadJson(const std::vector<std::string>& needs_restart);

}  // namespace wicket::document
