// Events as they happen, to a client that stays.
#pragma once

#include "control/event_filter.h"
#include "event/event_log.h"
#include "http/exchange.h"

namespace wicket::control {

// Answers with the events that `filter` admits, until the client or the server goes. `lagged` tells
// how many events a slow client missed, admitted or not. A comment line tells that it still runs,
// after 15 s without any that is admitted.
void StreamEvents(http::Exchange& exchange, const EventFilter& filter, event::EventLog& events);

}  // namespace wicket::control
