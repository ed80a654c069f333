#include "hook/transfer.h"

#include <curl/curl.h>

#include <memory>

#include "absl/strings/str_cat.h"

namespace wicket::hook {
namespace {

constexpr long kConnect_ms = 5000;

struct Easy {
  void operator()(CURL* curl) const { curl_easy_cleanup(curl); }
};
struct List {
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};

struct Taking {
  CURL* curl;
  const Request* request;
};

size_t Take(char* data, size_t, size_t bytes, void* taking_address) {
  const auto* taking = static_cast<Taking*>(taking_address);
  long status = 0;
  curl_easy_getinfo(taking->curl, CURLINFO_RESPONSE_CODE, &status);
  if (status == 200) taking->request->piece({data, bytes});
  return bytes;
}

int Look(void* stopping, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const std::atomic<bool>*>(stopping)->load() ? 1 : 0;
}

}  // namespace

struct Client::Handle {
  std::unique_ptr<CURL, Easy> curl{curl_easy_init()};
};

Client::Client() : handle_(std::make_unique<Handle>()) {}
Client::~Client() = default;

absl::StatusOr<long> Client::Do(const Request& request, const std::atomic<bool>& stopping) {
  CURL* curl = handle_->curl.get();
  if (curl == nullptr) return absl::UnavailableError("libcurl has no memory");
  curl_easy_reset(curl);  // but for its connection
  std::unique_ptr<curl_slist, List> headers;
  for (const std::string& header : request.headers) {
    curl_slist* longer = curl_slist_append(headers.get(), header.c_str());
    if (longer == nullptr) return absl::UnavailableError("libcurl has no memory");
    std::ignore = headers.release();
    headers.reset(longer);
  }
  char why[CURL_ERROR_SIZE] = "";
  Taking taking{curl, &request};
  const auto set = [&](CURLoption option, auto value) { curl_easy_setopt(curl, option, value); };
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_PROTOCOLS_STR, request.unix_socket.empty() ? "https" : "http");
  set(CURLOPT_CONNECTTIMEOUT_MS, kConnect_ms);
  set(CURLOPT_ERRORBUFFER, why);
  set(CURLOPT_HTTPHEADER, headers.get());
  set(CURLOPT_WRITEFUNCTION, &Take);
  set(CURLOPT_WRITEDATA, &taking);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, &Look);
  set(CURLOPT_XFERINFODATA, const_cast<std::atomic<bool>*>(&stopping));
  if (!request.unix_socket.empty()) {
    set(CURLOPT_UNIX_SOCKET_PATH, request.unix_socket.c_str());
    set(CURLOPT_PROXY, "");
  }
  if (!request.ca.empty()) set(CURLOPT_CAINFO, request.ca.c_str());
  if (request.patience != absl::InfiniteDuration()) {
    set(CURLOPT_TIMEOUT_MS, static_cast<long>(absl::ToInt64Milliseconds(request.patience)));
  }
  if (!request.body.empty()) {
    set(CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.size()));
    set(CURLOPT_POSTFIELDS, request.body.c_str());
  }
  const CURLcode code = curl_easy_perform(curl);
  set(CURLOPT_ERRORBUFFER, static_cast<char*>(nullptr));  // it outlives `why`
  if (code == CURLE_ABORTED_BY_CALLBACK) return absl::CancelledError("stopping");
  if (code != CURLE_OK) {
    return absl::UnavailableError(*why != '\0' ? why : curl_easy_strerror(code));
  }
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return status;
}

}  // namespace wicket::hook
