// Whole connections of requests to the control interface, on a real server and a real store. Every
// answer must be well-formed HTTP, and every error JSON with a code and a sentence.
#include <sys/socket.h>
#include <unistd.h>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <boost/json.hpp>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "control/api.h"
#include "http/server.h"
#include "http/transport.h"

namespace {

using namespace wicket;
namespace beast_http = boost::beast::http;

struct Served {
  Served()
      : store(*store::Store::Open({.path = Folder(), .bytes_max = 64 << 20})),
        committer(&store),
        roster(&committer, &devices, &events,
               {{"pool", {.device = "wg0", .ipv4 = {*ParsePrefix("10.0.0.0/28")}, .ipv6 = {}}}}) {}
  static std::string Folder() {
    const std::string path = absl::StrCat("/dev/shm/wicket-fuzz-", getpid());
    std::filesystem::create_directory(path);
    atexit([] { std::filesystem::remove_all(absl::StrCat("/dev/shm/wicket-fuzz-", getpid())); });
    return path;
  }
  store::Store store;
  roster::Devices devices;
  event::EventLog events;
  store::Committer committer;
  roster::Roster roster;
  control::Api api{{.roster = &roster, .devices = &devices, .store = &store, .events = &events}};
};

// Request lines for a fuzzed body.
constexpr const char* kRequests[] = {
    "GET /v1/status HTTP/1.1\r\n",
    "GET /v1/events HTTP/1.1\r\n",
    "GET /v1/devices/wg0/peers?limit=2&label=a%3Db HTTP/1.1\r\n",
    "PUT /v1/devices/wg0/peers/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\n",
    "GET /v1/devices/wg0/peers/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\n",
    "DELETE /v1/devices/wg0/peers/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA HTTP/1.1\r\n",
    "GET /v1/devices/wg0/addresses/10.0.0.2 HTTP/1.1\r\n",
    "POST /v1/devices/wg0/import HTTP/1.1\r\n",
    "GET /v1/devices/wg0/export HTTP/1.1\r\n",
    "POST /v1/reload HTTP/1.1\r\n",
    "GET /v1/devices/wg0/peers?installed=false&limit=1 HTTP/1.1\r\n",
};

// The first byte selects how much of the request is fixed, the second which one.
std::string RequestsOf(const uint8_t* data, size_t size) {
  if (size < 2) return "";
  const std::string rest(reinterpret_cast<const char*>(data + 2), size - 2);
  const std::string request = kRequests[data[1] % std::size(kRequests)];
  if (data[0] % 3 == 0) return rest;
  if (data[0] % 3 == 1) return request + rest;  // with fuzzed headers
  return absl::StrCat(request, "Content-Length: ", rest.size(), "\r\n\r\n", rest);
}

std::string Exchange(const std::string& request) {
  static Served* served = new Served;
  static const std::atomic<bool> stopping{false};
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) __builtin_trap();
  const Fd client(ends[1]);
  const int bytes = 4 << 20;  // holds a whole conversation, so no thread is needed
  setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
  setsockopt(ends[1], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
  if (write(client.get(), request.data(), request.size()) != ssize_t(request.size())) return "";
  shutdown(client.get(), SHUT_WR);
  {
    http::Transport transport{Fd(ends[0])};
    http::ServeConnection(
        transport, [](http::Exchange& exchange) { served->api.Handle(exchange); }, stopping,
        [](const http::Exchange&) { return http::Role::kWrite; });
  }
  std::string answer;
  char piece[64 << 10];
  for (ssize_t n; (n = read(client.get(), piece, sizeof(piece))) > 0;) {
    answer.append(piece, static_cast<size_t>(n));
  }
  return answer;
}

void Check(const std::string& request, std::string answers) {
  if (answers.empty() && !request.empty()) __builtin_trap();
  while (!answers.empty()) {
    beast_http::response_parser<beast_http::string_body> parser;
    parser.body_limit(boost::none);
    parser.eager(true);
    // The answer to a HEAD has no body, but this parser expects one: nothing more is checked.
    if (request.find("HEAD") != request.npos) return;
    boost::beast::error_code error;
    const size_t used = parser.put(boost::asio::buffer(answers), error);
    // A stream that was cut off has no last chunk.
    if (error == beast_http::error::need_more && parser.is_header_done() && parser.chunked()) {
      return;
    }
    if (error) __builtin_trap();
    answers.erase(0, used);
    const auto& answer = parser.get();
    if (answer.result_int() == 100) continue;
    if (answer.result_int() < 400) continue;
    const auto value = boost::json::parse(answer.body(), error);
    if (error || value.at("error").at("code").as_string().empty() ||
        value.at("error").at("message").as_string().empty()) {
      __builtin_trap();
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string request = RequestsOf(data, size);
  Check(request, Exchange(request));
  return 0;
}
