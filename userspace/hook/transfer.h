// HTTP requests by libcurl, which end early when the program stops.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/status.h"

namespace wicket::hook {

struct Request {
  std::string url;          // https://; with `unix_socket`, http://
  std::string unix_socket;  // where the server of the URL listens; empty: TCP
  std::string ca;           // PEM file; empty: what the system trusts
  std::vector<std::string> headers;
  std::string body;                                    // of a POST; empty: GET
  absl::Duration patience = absl::InfiniteDuration();  // for all of it
  // A piece of the body of an answer with status 200.
  std::function<void(absl::string_view)> piece = [](absl::string_view) {};
};

// Keeps the connection of one request for the next. Thread: one at a time.
// Requires: curl_global_init().
class Client {
 public:
  Client();
  ~Client();

  // Follows no redirection. Blocks. Returns: the HTTP status. Errors: Cancelled when `stopping` was
  // set, which is looked at once a second; Unavailable with the reason.
  absl::StatusOr<long> Do(const Request& request, const std::atomic<bool>& stopping);

 private:
  struct Handle;  // libcurl's
  const std::unique_ptr<Handle> handle_;
};

}  // namespace wicket::hook
