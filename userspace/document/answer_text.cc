#include "document/answer_text.h"

#include <boost/json.hpp>

#include "document/peer_fields.h"

namespace wicket::document {
namespace {

namespace json = boost::json;

constexpr char kFieldPayload[] = "wicket/field";

}  // namespace

absl::Status AboutField(absl::string_view field, absl::Status status) {
  status.SetPayload(kFieldPayload, absl::Cord(field));
  return status;
}

std::string FieldOf(const absl::Status& status) {
  const auto field = status.GetPayload(kFieldPayload);
  return field ? std::string(*field) : "";
}

std::string ToJson(const event::Event& event) {
  json::object object;
  object["event"] = event::ToString(event.kind);
  object["at"] = absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", event.at, absl::UTCTimeZone());
  object["device"] = event.device;
  if (event.peer) object["public_key"] = ToBase64(*event.peer);
  if (event.source.address.family != Family::kNone) object["source"] = ToString(event.source);
  if (*event.reason != '\0') object["reason"] = event.reason;
  if (!event.figures.empty()) {
    json::object& figures = object["figures"].emplace_object();
    for (const auto& [name, value] : event.figures) figures[name] = value;
  }
  return json::serialize(object);
}

std::string ToReasonsJson(const std::vector<std::string>& reasons) {
  return json::serialize(json::object{{"reasons", json::array(reasons.begin(), reasons.end())}});
}

std::string ToErrorJson(absl::string_view code, absl::string_view message, absl::string_view field,
                        std::optional<uint64_t> line) {
  json::object object;
  json::object& error = object["error"].emplace_object();
  error["code"] = json::string_view(code.data(), code.size());
  error["message"] = Utf8Of(message);
  if (!field.empty()) error["field"] = Utf8Of(field);
  if (line) object["line"] = *line;
  return json::serialize(object);
}

std::string ToReloadJson(const std::vector<std::string>& needs_restart) {
  json::object object;
  json::array& settings = object["needs_restart"].emplace_array();
  for (const std::string& setting : needs_restart) settings.emplace_back(Utf8Of(setting));
  return json::serialize(object);
}

}  // namespace wicket::document
