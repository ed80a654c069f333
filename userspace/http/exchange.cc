#include "http/exchange.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "document/answer_text.h"

namespace wicket::http {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;

constexpr char kJson[] = "application/json";
constexpr char kServer[] = "wicketd/" WICKET_VERSION;
constexpr char kRetryAfter_s[] = "1";
constexpr absl::Duration kLinger = absl::Seconds(2);
constexpr size_t kLingerBytesMax = 64 << 20;

}  // namespace

ErrorKind KindOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return {400, "invalid_argument"};
    case absl::StatusCode::kUnauthenticated:
      return {401, "unauthenticated"};
    case absl::StatusCode::kPermissionDenied:
      return {403, "permission_denied"};
    case absl::StatusCode::kNotFound:
      return {404, "not_found"};
    case absl::StatusCode::kAlreadyExists:
      return {409, "already_exists"};
    case absl::StatusCode::kOutOfRange:
      return {413, "too_large"};
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kAborted:
      return {503, "unavailable"};
    case absl::StatusCode::kResourceExhausted:
      return {507, "full"};
    default:
      return {500, "internal"};
  }
}

Exchange::Exchange(Transport* transport, boost::beast::flat_buffer* buffer,
                   const std::atomic<bool>* stopping)
    : transport_(transport), buffer_(buffer), stopping_(stopping) {
  parser_.header_limit(kHeaderBytesMax);
  parser_.body_limit(boost::none);  // ReadBody has its own; a stream has none
}

Exchange::~Exchange() { explicit_bzero(chunk_, sizeof(chunk_)); }

bool Exchange::ReadHeader() {
  error_code error;
  transport_->ExpireIn(kIdle);
  if (buffer_->size() == 0) {
    const size_t n = transport_->read_some(buffer_->prepare(4096), error);
    if (error) return false;
    buffer_->commit(n);
  }
  transport_->ExpireIn(kPatience);
  http::read_header(*transport_, *buffer_, parser_, error);
  if (error) {
    AnswerBadHeader(error);
    return false;
  }
  const auto& request = parser_.get();
  method_ = std::string(request.method_string());
  keep_alive_ = request.keep_alive() && request.method() != http::verb::head;
  if (request.version() != 11) {
    keep_alive_ = false;
    AnswerError(400, "bad_request", "HTTP/1.1 is needed");
    return false;
  }
  auto target = ParseTarget({request.target().data(), request.target().size()});
  if (!target) {
    AnswerError(400, "bad_request", "the path or query has a broken % escape");
    return false;
  }
  target_ = std::move(*target);
  return true;
}

void Exchange::AnswerBadHeader(const error_code& error) {
  keep_alive_ = false;
  if (error == http::error::header_limit) {
    return AnswerError(431, "headers_too_large",
                       absl::StrCat("the headers have more than ", kHeaderBytesMax, " bytes"));
  }
  if (error == boost::beast::error::timeout) {
    return AnswerError(408, "timeout", "the request did not arrive in time");
  }
  // Who has sent all he wants to may still listen.
  if (error != http::error::end_of_stream &&
      error.category() == http::make_error_code(http::error::bad_method).category()) {
    AnswerError(400, "bad_request", absl::StrCat("not HTTP/1.1: ", error.message()));
  }
}

std::string Exchange::header(const char* name) const {
  const auto& request = parser_.get();
  const auto it = request.find(name);
  return it == request.end() ? "" : std::string(it->value());
}

bool Exchange::Abandoned() const {
  pollfd poll_fd{transport_->fd(), POLLRDHUP, 0};
  return poll(&poll_fd, 1, 0) > 0;
}

// --- the body ---------------------------------------------------------------

bool Exchange::SendContinue() {
  if (continue_sent_ || !absl::EqualsIgnoreCase(header("Expect"), "100-continue")) return true;
  continue_sent_ = true;
  constexpr absl::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
  error_code error;
  transport_->ExpireIn(kPatience);
  boost::asio::write(*transport_, boost::asio::buffer(kContinue.data(), kContinue.size()), error);
  return !error;
}

// Returns: 0 at the end of the body, or with an error.
size_t Exchange::ReadSome(char* data, size_t bytes, error_code* error) {
  *error = {};
  if (!SendContinue()) return 0;
  auto& body = parser_.get().body();
  body.data = data;
  body.size = bytes;
  while (!parser_.is_done() && body.size == bytes) {
    http::read_some(*transport_, *buffer_, parser_, *error);
    if (*error == http::error::need_buffer) *error = {};
    if (*error) return 0;
  }
  return bytes - body.size;
}

absl::StatusOr<std::string> Exchange::ReadBody() {
  std::string text;
  text.reserve(parser_.content_length().value_or(0) > kBodyBytesMax
                   ? 0
                   : parser_.content_length().value_or(kBodyBytesMax));
  transport_->ExpireIn(kPatience);
  for (;;) {
    error_code error;
    const size_t n = ReadSome(chunk_, sizeof(chunk_), &error);
    if (error == boost::beast::error::timeout) {
      keep_alive_ = false;
      return absl::DeadlineExceededError("the body did not arrive in time");
    }
    if (error) {
      keep_alive_ = false;
      return absl::InvalidArgumentError(absl::StrCat("the body: ", error.message()));
    }
    if (n == 0) return text;
    if (text.size() + n > kBodyBytesMax) {
      keep_alive_ = false;
      return absl::OutOfRangeError(
          absl::StrCat("the body has more than ", kBodyBytesMax, " bytes"));
    }
    text.append(chunk_, n);
  }
}

Exchange::int_type Exchange::underflow() {
  error_code error;
  transport_->ExpireIn(kPatience);
  const size_t n = ReadSome(chunk_, sizeof(chunk_), &error);
  if (n == 0) return traits_type::eof();
  setg(chunk_, chunk_, chunk_ + n);
  return traits_type::to_int_type(chunk_[0]);
}

// --- the answer -------------------------------------------------------------

void Exchange::Answer(unsigned status, std::string json) {
  answered_ = true;
  // What is left of the body would be taken for the next request.
  if (!parser_.is_done()) keep_alive_ = false;
  http::response<http::string_body> response;
  response.result(status);
  response.set(http::field::server, kServer);
  if (status != 204) response.set(http::field::content_type, kJson);
  if (!allow_.empty()) response.set(http::field::allow, allow_);
  if (status == 503) response.set(http::field::retry_after, kRetryAfter_s);
  if (status == 401) response.set(http::field::www_authenticate, "Bearer");
  response.keep_alive(keep_alive_);
  response.body() = std::move(json);
  if (status != 204) response.body().push_back('\n');
  response.prepare_payload();
  error_code error;
  transport_->ExpireIn(kPatience);
  if (method_ == "HEAD") response.body().clear();  // its length stays
  http::write(*transport_, response, error);
  explicit_bzero(response.body().data(), response.body().size());
  if (error) keep_alive_ = false;
}

void Exchange::AnswerError(unsigned status, const char* code, absl::string_view message) {
  Answer(status, document::ToErrorJson(code, message, ""));
}

void Exchange::AnswerError(const absl::Status& status) {
  const ErrorKind kind = KindOf(status);
  Answer(kind.http_status,
         document::ToErrorJson(kind.code, status.message(), document::FieldOf(status)));
}

bool Exchange::BeginStream(const char* content_type) {
  answered_ = true;
  if (!parser_.is_done()) keep_alive_ = false;
  http::response<http::empty_body> response;
  response.set(http::field::server, kServer);
  response.set(http::field::content_type, content_type);
  response.set(http::field::cache_control, "no-store");
  response.keep_alive(keep_alive_);
  response.chunked(true);
  http::response_serializer<http::empty_body> serializer(response);
  error_code error;
  transport_->ExpireIn(kPatience);
  http::write_header(*transport_, serializer, error);
  return !error;
}

bool Exchange::Write(absl::string_view piece) {
  if (piece.empty()) return true;  // an empty chunk would end the answer
  error_code error;
  transport_->ExpireIn(kPatience);
  boost::asio::write(*transport_, http::make_chunk(boost::asio::buffer(piece.data(), piece.size())),
                     error);
  if (error) keep_alive_ = false;
  return !error;
}

bool Exchange::EndStream() {
  error_code error;
  transport_->ExpireIn(kPatience);
  boost::asio::write(*transport_, http::make_chunk_last(), error);
  if (error) keep_alive_ = false;
  return !error;
}

void Exchange::Linger() {
  if (parser_.is_done() || aborted_ || !answered_) return;
  shutdown(transport_->fd(), SHUT_WR);
  transport_->ExpireIn(kLinger);
  error_code error;
  size_t left = kLingerBytesMax;
  while (left > 0) {
    const size_t n = transport_->read_some(boost::asio::buffer(chunk_), error);
    if (error || n == 0) return;
    left -= std::min(left, n);
  }
}

}  // namespace wicket::http
