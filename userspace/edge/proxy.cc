#include "edge/proxy.h"

#include <poll.h>
#include <sys/socket.h>
#include <string.h>
#include <sys/un.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/write.hpp>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/fd.h"
#include "http/transport.h"

namespace wicket::edge {
namespace {

namespace beast_http = boost::beast::http;
using boost::beast::error_code;
using http::Exchange;

constexpr absl::Duration kPatience =
    absl::Seconds(30);  // for wicketd's next bytes, but of a stream
constexpr absl::Duration kConnect = absl::Seconds(5);
constexpr int kRetry_ms = 50;
constexpr size_t kWholeBytesMax = 64 << 10;  // a larger answer is passed on in pieces
constexpr absl::Duration kRoleInterval = absl::Seconds(2);
// By then at least one more token may be tried: failures_per_minute is at least 1.
constexpr char kLockedOut_s[] = "60";
constexpr int kLook_ms = 1000;  // at whether the gateway stops
constexpr size_t kPieceBytes = 16 << 10;

// Errors: Unavailable says why nobody answers; Cancelled when the client hung up, or the edge
// stops.
absl::StatusOr<Fd> Connect(const std::string& path, const Exchange& exchange) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::UnavailableError(absl::StrCat("socket: ", path, ": too long"));
  }
  path.copy(address.sun_path, path.size());
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const absl::Duration deadline = SteadyNow() + kConnect;
  while (!fd.valid() ||
         connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno != EAGAIN || SteadyNow() >= deadline) {  // EAGAIN: its backlog is full
      const absl::Status why = ErrnoStatus(errno, absl::StrCat("connect(", path, ")"));
      return absl::UnavailableError(absl::StrCat("wicketd does not answer: ", why.message()));
    }
    pollfd client{exchange.fd(), POLLRDHUP, 0};
    if (poll(&client, 1, kRetry_ms) > 0 || exchange.stopping()) return absl::CancelledError();
  }
  return fd;
}

// A connection to wicketd. A read waits until give_up(), or for as long as the client does: an
// import answers at its end, and a stream may be silent. It is aborted when the client hangs up, or
// the edge stops.
class UpstreamTransport : public http::Transport {
 public:
  UpstreamTransport(Fd fd, const Exchange* exchange)
      : Transport(std::move(fd)), exchange_(exchange) {}
  void set_give_up(absl::Duration steady) { give_up_ = steady; }
  // From here on the answer ends when the client's right does.
  void set_streaming() {
    streaming_ = true;
    next_role_ = SteadyNow() + kRoleInterval;
  }

 private:
  size_t Read(void* data, size_t bytes, error_code* error) override {
    for (;;) {
      if (streaming_ && SteadyNow() >= next_role_) {
        next_role_ = SteadyNow() + kRoleInterval;
        if (exchange_->role_now() < exchange_->role) {
          *error = boost::asio::error::operation_aborted;
          return 0;
        }
      }
      const ssize_t n = recv(fd(), data, bytes, 0);
      *error = {};
      if (n > 0) return static_cast<size_t>(n);
      if (n == 0) *error = boost::asio::error::eof;
      if (n < 0 && errno != EAGAIN && errno != EINTR) {
        *error = {errno, boost::system::system_category()};
      }
      if (*error) return 0;
      pollfd fds[] = {{fd(), POLLIN, 0}, {exchange_->fd(), POLLRDHUP, 0}};
      poll(fds, 2, kLook_ms);
      if (fds[0].revents == 0 && (fds[1].revents != 0 || exchange_->stopping())) {
        *error = boost::asio::error::operation_aborted;
        return 0;
      }
      if (fds[0].revents == 0 && SteadyNow() > give_up_) {
        *error = boost::beast::error::timeout;
        return 0;
      }
    }
  }

  const Exchange* exchange_;
  absl::Duration give_up_ = absl::InfiniteDuration();
  bool streaming_ = false;
  absl::Duration next_role_;
};

// One request to wicketd.
class Upstream {
 public:
  Upstream(Fd fd, Exchange* exchange) : transport_(std::move(fd), exchange), exchange_(exchange) {
    parser_.body_limit(boost::none);
    parser_.header_limit(Exchange::kHeaderBytesMax);
  }

  // `addition`: to an answer with status 200, at its end.
  void Run(const std::string& addition) {
    Send();
    error_code error;
    parser_.skip(exchange_->method() == "HEAD");
    if (!exchange_->has_body()) transport_.set_give_up(SteadyNow() + kPatience);
    beast_http::read_header(transport_, buffer_, parser_, error);
    transport_.set_give_up(absl::InfiniteDuration());
    if (error == boost::asio::error::operation_aborted) return exchange_->Abort();
    if (error) {
      return exchange_->AnswerError(
          absl::UnavailableError(absl::StrCat("wicketd gave no answer: ", error.message())));
    }
    const auto& answer = parser_.get();
    for (const auto field : {beast_http::field::allow, beast_http::field::retry_after}) {
      const auto it = answer.find(field);
      if (it != answer.end()) {
        exchange_->AddHeader(std::string(beast_http::to_string(field)), std::string(it->value()));
      }
    }
    const std::string type(answer[beast_http::field::content_type]);
    const bool large =
        answer.result_int() == 200 && parser_.content_length().value_or(0) > kWholeBytesMax;
    const std::string& end = answer.result_int() == 200 ? addition : "";
    parser_.chunked() || large ? Stream(type, end) : Answer(answer.result_int(), type, end);
  }

 private:
  void Send() {
    beast_http::request<beast_http::empty_body> request;
    request.method_string(exchange_->method());
    request.target(exchange_->raw_target());
    request.version(11);
    request.set(beast_http::field::host, "wicketd");
    request.set(beast_http::field::connection, "close");
    request.set(http::kRoleHeader, http::ToString(exchange_->role));
    const bool has_body = exchange_->has_body();
    if (has_body) request.chunked(true);
    beast_http::request_serializer<beast_http::empty_body> serializer(request);
    error_code error;
    transport_.ExpireIn(kPatience);
    beast_http::write_header(transport_, serializer, error);
    if (!has_body) return;
    // wicketd may answer before it has read all: then it is not written any more, but its answer is
    // read.
    std::streambuf* body = exchange_->body();
    while (!error && body->sgetc() != std::streambuf::traits_type::eof()) {
      char piece[kPieceBytes];
      const std::streamsize n =
          body->sgetn(piece, std::min<std::streamsize>(sizeof(piece), body->in_avail()));
      transport_.ExpireIn(kPatience);
      boost::asio::write(transport_,
                         beast_http::make_chunk(boost::asio::buffer(piece, static_cast<size_t>(n))),
                         error);
      explicit_bzero(piece, sizeof(piece));
    }
    // Without its last chunk, wicketd takes the body for one that ended early, as it did.
    if (error || !exchange_->body_done()) {
      shutdown(transport_.fd(), SHUT_WR);
      return;
    }
    boost::asio::write(transport_, beast_http::make_chunk_last(), error);
  }

  // Returns: bytes, 0 at the end or with an error.
  size_t ReadSome(char* piece, size_t bytes, error_code* error) {
    auto& body = parser_.get().body();
    body.data = piece;
    body.size = bytes;
    *error = {};
    while (!parser_.is_done() && body.size == bytes && !*error) {
      beast_http::read_some(transport_, buffer_, parser_, *error);
      if (*error == beast_http::error::need_buffer) *error = {};
    }
    return *error ? 0 : bytes - body.size;
  }

  void Answer(unsigned status, const std::string& type, const std::string& addition) {
    std::string text;
    char piece[kPieceBytes];
    error_code error;
    while (const size_t n = ReadSome(piece, sizeof(piece), &error)) text.append(piece, n);
    explicit_bzero(piece, sizeof(piece));
    if (error) {
      return exchange_->AnswerError(absl::UnavailableError("wicketd's answer ended early"));
    }
    text += addition;
    exchange_->Answer(status, std::move(text), type.c_str());
  }

  void Stream(const std::string& type, const std::string& addition) {
    if (!exchange_->BeginStream(type.c_str())) return;
    transport_.set_streaming();
    char piece[kPieceBytes];
    error_code error;
    bool written = true;
    while (const size_t n = written ? ReadSome(piece, sizeof(piece), &error) : 0) {
      written = exchange_->Write({piece, n});
    }
    explicit_bzero(piece, sizeof(piece));
    written = written && !error && exchange_->Write(addition);
    if (!written) return exchange_->Abort();  // the missing last chunk tells the client
    exchange_->EndStream();
  }

  UpstreamTransport transport_;
  Exchange* exchange_;
  boost::beast::flat_buffer buffer_{Exchange::kHeaderBytesMax + (64 << 10)};
  beast_http::response_parser<beast_http::buffer_body> parser_;
};

}  // namespace

void Proxy::Handle(Exchange& exchange) const {
  if (exchange.role == http::Role::kLockedOut) {
    exchange.AddHeader("Retry-After", kLockedOut_s);
    return exchange.AnswerError(429, "too_many_requests",
                                "too many wrong tokens came from this address; try again later");
  }
  if (exchange.role == http::Role::kNone) {
    return exchange.AnswerError(
        absl::UnauthenticatedError("a valid bearer token or client certificate is needed"));
  }
  auto fd = Connect(socket_, exchange);
  if (absl::IsCancelled(fd.status())) return exchange.Abort();
  if (!fd.ok()) return exchange.AnswerError(fd.status());
  const bool adds = exchange.target().path == std::vector<std::string>{"metrics"};
  Upstream(*std::move(fd), &exchange).Run(adds ? metrics_() : "");
}

}  // namespace wicket::edge
