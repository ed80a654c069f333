#include "control/event_stream.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "document/answer_text.h"

namespace wicket::control {
namespace {

constexpr absl::Duration kEventWait = absl::Seconds(1);
constexpr absl::Duration kHeartbeat = absl::Seconds(15);  // without an event

// Server-sent events [WHATWG HTML 9.2] of a batch; empty: nothing that the filter admits.
std::string FramesOf(const event::EventLog::Watcher::Batch& batch, const EventFilter& filter) {
  std::string text;
  if (batch.missed > 0) {
    absl::StrAppend(&text, "event: lagged\ndata: {\"missed\":", batch.missed, "}\n\n");
  }
  for (const event::Event& event : batch.events) {
    if (!filter.Admits(event)) continue;
    absl::StrAppend(&text, "event: ", event::ToString(event.kind),
                    "\ndata: ", document::ToJson(event), "\n\n");
  }
  return text;
}

}  // namespace

void StreamEvents(http::Exchange& exchange, const EventFilter& filter, event::EventLog& events) {
  event::EventLog::Watcher watcher(&events);
  // A first line at once, so that the client knows it will miss nothing from here.
  if (!exchange.BeginStream("text/event-stream") || !exchange.Write(": watching\n\n")) return;
  absl::Duration told = SteadyNow();
  while (!exchange.stopping() && !exchange.Abandoned()) {
    std::string text = FramesOf(watcher.Read(kEventWait), filter);
    if (text.empty() && SteadyNow() - told >= kHeartbeat) text = ": still here\n\n";
    if (!text.empty()) told = SteadyNow();
    if (!exchange.Write(text)) return;
  }
  exchange.EndStream();
}

}  // namespace wicket::control
