#include "control/event_filter.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "control/query.h"
#include "document/answer_text.h"

namespace wicket::control {
namespace {

const std::vector<std::string>& KindNames() {
  static const auto* names = new std::vector<std::string>{
#define WICKET_EVENT_NAME(name, text, help) text,
      WICKET_EVENTS(WICKET_EVENT_NAME)
#undef WICKET_EVENT_NAME
  };
  return *names;
}

absl::Status Bad(const char* field, absl::string_view found, absl::string_view accepted) {
  return document::AboutField(field, absl::InvalidArgumentError(absl::StrCat(
                                         field, ": found \"", found, "\"; accepted: ", accepted)));
}

}  // namespace

bool EventFilter::Admits(const event::Event& event) const {
  const auto kind_is = [&](const std::string& kind) { return kind == event::ToString(event.kind); };
  if (!kinds.empty() && std::none_of(kinds.begin(), kinds.end(), kind_is)) return false;
  if (!device.empty() && event.device != device) return false;
  if (peer && event.peer != peer) return false;
  if (source) {
    const Address& address = event.source.address;
    if (address.family == Family::kNone) return false;
    if (!Contains(*source, Prefix{address, static_cast<uint8_t>(address.bits())})) return false;
  }
  return reason.empty() || reason == event.reason;
}

absl::StatusOr<EventFilter> ParseEventFilter(const http::Target& target) {
  WICKET_RETURN_IF_ERROR(CheckQuery(target, {"kind", "device", "peer", "source", "reason"}));
  EventFilter filter;
  const auto get = [&](const char* name) {
    const auto it = target.query.find(name);
    return it == target.query.end() ? std::string() : it->second;
  };
  filter.kinds = absl::StrSplit(get("kind"), ',', absl::SkipEmpty());
  for (const std::string& kind : filter.kinds) {
    const auto& names = KindNames();
    if (std::find(names.begin(), names.end(), kind) == names.end()) {
      return Bad("kind", kind, absl::StrJoin(names, ", "));
    }
  }
  filter.device = get("device");
  filter.reason = get("reason");
  if (const std::string peer = get("peer"); !peer.empty()) {
    filter.peer = http::ParseKeySegment(peer);
    if (!filter.peer) return Bad("peer", peer, "a public key in base64 or base64url");
  }
  if (const std::string source = get("source"); !source.empty()) {
    filter.source = ParsePrefix(source);
    if (!filter.source) return Bad("source", source, "an address, or address/length");
  }
  return filter;
}

}  // namespace wicket::control
