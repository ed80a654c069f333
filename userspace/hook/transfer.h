// One HTTP request by libcurl, which ends early when the program stops.
#pragma once

#include <atomic>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace wicket::hook {

struct Request {
  std::string url;
  std::string unix_socket;  // where the server of the URL listens; empty: TCP
  std::string ca;           // PEM file; empty: what the system trusts
  std::vector<std::string> headers;
  std::string body;                                    // of a POST; empty: GET
  absl::Duration patience = absl::InfiniteDuration();  // for all of it
  // A piece of the body of an answer with status 200.
  std::function<void(absl::string_view)> piece = [](absl::string_view) {};
};

// Follows no redirection. Returns: the HTTP status. Errors: Cancelled when `stopping` was set;
// Unavailable with the reason.
// Thread: any; blocks. `stopping` is looked at once a second.
absl::StatusOr<long> Transfer(const Request& request, const std::atomic<bool>& stopping);

}  // namespace wicket::hook
