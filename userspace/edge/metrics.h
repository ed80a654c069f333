// What wicket-edge adds to the metrics of wicketd.
#pragma once

#include <string>

#include "edge/access.h"
#include "edge/callers.h"

namespace wicket::edge {

// In Prometheus' text format. Thread: any.
std::string Metrics(const Access& access, const Callers& callers);

}  // namespace wicket::edge
