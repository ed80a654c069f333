// The status as Prometheus reads it.
#pragma once

#include <string>

#include "document/status_text.h"

namespace wicket::report {

// In the text format [Prometheus, exposition formats, 0.0.4]. The labels are devices, NICs, pools
// with their CIDRs, threads and reasons of the program: no peer, no client's address, nothing that
// a client chooses. Only where it is configured, a bounded number of peers have series of their
// own.
std::string ToPrometheus(const document::Status& status);

}  // namespace wicket::report
