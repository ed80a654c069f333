// Some answers of the control interface: errors, events, why a peer has a session, a reload.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "event/event_log.h"

namespace wicket::document {

// An error about one field of a request, and that field's name; empty when none is known. An OK
// status stays as it is. Annotate() drops the field.
absl::Status AboutField(absl::string_view field, absl::Status status);
std::string FieldOf(const absl::Status& status);

// {"error": {"code", "message", "field"}, "line"}; an empty field and no line are left out. `line`:
// of the request's body, from 1. A text that is no UTF-8 gets "?" for each byte from 0x80 on.
std::string ToErrorJson(absl::string_view code, absl::string_view message, absl::string_view field,
                        std::optional<uint64_t> line = std::nullopt);
// {"event", "at", "device", "public_key", "source", "reason", "figures": {...}}; "at" is UTC with
// milliseconds. Those of the last four that are not set are left out; "device" may be empty.
std::string ToJson(const event::Event& event);
// {"reasons": [...]}: why a peer has a session, or none. Requires: UTF-8.
std::string ToReasonsJson(const std::vector<std::string>& reasons);
// {"needs_restart": [...]}: what a reload could not apply.
std::string ToReloadJson(const std::vector<std::string>& needs_restart);

}  // namespace wicket::document
