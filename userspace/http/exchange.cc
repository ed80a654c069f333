#include "http/exchange.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/chunk_encode.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "document/answer_text.h"
#include "http/transport.h"

namespace wicket::http {
namespace {

namespace http = boost::beast::http;
using boost::beast::error_code;

constexpr char kServer[] = "wicketd/" WICKET_VERSION;
constexpr char kRetryAfter_s[] = "1";
constexpr absl::Duration kLinger = absl::Seconds(2);
constexpr size_t kLingerBytesMax = 64 << 20;

}  // namespace

const char* ToString(Role role) {
  switch (role) {
    case Role::kLockedOut:
    case Role::kNone:
      return "none";
    case Role::kMetrics:
      return "metrics";
    case Role::kRead:
      return "read";
    case Role::kWrite:
      return "write";
  }
  return "";
}

std::optional<Role> ParseRole(absl::string_view text) {
  for (const Role role : {Role::kMetrics, Role::kRead, Role::kWrite}) {
    if (text == ToString(role)) return role;
  }
  return std::nullopt;
}

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
    case absl::StatusCode::kUnimplemented:
      return {501, "not_implemented"};
    default:
      return {500, "internal"};
  }
}

// --- reading ----------------------------------------------------------------

struct ReadAhead::Buffer {
  boost::beast::flat_buffer bytes{Exchange::kHeaderBytesMax + (64 << 10)};
};

ReadAhead::ReadAhead() : buffer_(std::make_unique<Buffer>()) {}

ReadAhead::~ReadAhead() {
  auto& bytes = buffer_->bytes;
  bytes.clear();
  const auto all = bytes.prepare(bytes.capacity());
  if (all.size() > 0) explicit_bzero(all.data(), all.size());  // of none the pointer is null
}

struct Exchange::Reader {
  Reader(Transport* from, boost::beast::flat_buffer* read_ahead)
      : transport(from), buffer(read_ahead) {
    parser.header_limit(kHeaderBytesMax);
    parser.body_limit(boost::none);  // ReadBody has its own; a stream has none
  }

  // Returns: false when the client sends nothing more.
  bool ReadHeader(absl::Duration idle, error_code* error) {
    transport->ExpireIn(idle);
    if (buffer->size() == 0) {
      const size_t n = transport->read_some(buffer->prepare(4096), *error);
      if (*error) return false;
      buffer->commit(n);
    }
    transport->ExpireIn(kPatience);
    http::read_header(*transport, *buffer, parser, *error);
    return true;
  }

  absl::string_view header(const char* name) const {
    const auto it = parser.get().find(name);
    if (it == parser.get().end()) return "";
    return {it->value().data(), it->value().size()};
  }

  bool SendContinue() {
    if (continue_sent || !absl::EqualsIgnoreCase(header("Expect"), "100-continue")) return true;
    continue_sent = true;
    constexpr absl::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
    error_code error;
    transport->ExpireIn(kPatience);
    boost::asio::write(*transport, boost::asio::buffer(kContinue.data(), kContinue.size()), error);
    return !error;
  }

  // Returns: 0 at the end of the body, or with an error.
  size_t ReadSome(char* data, size_t bytes, error_code* error) {
    *error = {};
    if (!SendContinue()) *error = boost::asio::error::broken_pipe;
    if (*error) return 0;
    auto& body = parser.get().body();
    body.data = data;
    body.size = bytes;
    while (!parser.is_done() && body.size == bytes) {
      http::read_some(*transport, *buffer, parser, *error);
      if (*error == http::error::need_buffer) *error = {};
      if (*error) return 0;
    }
    return bytes - body.size;
  }

  Transport* transport;
  boost::beast::flat_buffer* buffer;
  http::request_parser<http::buffer_body> parser;
  bool continue_sent = false;
};

namespace {

struct Refusal {
  unsigned status;
  const char* code;
  std::string message;
};

// Returns: nullopt when nothing can be said, to a client that is gone.
std::optional<Refusal> RefusalOf(const error_code& error) {
  if (error == http::error::header_limit) {
    return Refusal{
        431, "headers_too_large",
        absl::StrCat("the headers have more than ", Exchange::kHeaderBytesMax, " bytes")};
  }
  if (error == boost::beast::error::timeout) {
    return Refusal{408, "timeout", "the request did not arrive in time"};
  }
  // A client that has sent all it wants to may still listen.
  if (error != http::error::end_of_stream &&
      error.category() == http::make_error_code(http::error::bad_method).category()) {
    return Refusal{400, "bad_request", absl::StrCat("not HTTP/1.1: ", error.message())};
  }
  return std::nullopt;
}

}  // namespace

Exchange::Exchange(Transport* transport, ReadAhead* read_ahead, const std::atomic<bool>* stopping)
    : transport_(transport),
      stopping_(stopping),
      reader_(std::make_unique<Reader>(transport, &read_ahead->buffer_->bytes)) {}

Exchange::~Exchange() { explicit_bzero(chunk_, sizeof(chunk_)); }

bool Exchange::ReadHeader(absl::Duration idle) {
  error_code error;
  if (!reader_->ReadHeader(idle, &error)) return false;
  if (error) {
    if (const auto refusal = RefusalOf(error)) {
      AnswerError(refusal->status, refusal->code, refusal->message);
    }
    return false;
  }
  const auto& request = reader_->parser.get();
  method_ = std::string(request.method_string());
  if (request.version() != 11) {
    AnswerError(400, "bad_request", "HTTP/1.1 is needed");
    return false;
  }
  keep_alive_ = request.keep_alive() && request.method() != http::verb::head;
  raw_target_ = std::string(request.target());
  auto target = ParseTarget(raw_target_);
  if (!target) {
    keep_alive_ = false;
    AnswerError(400, "bad_request", "the path or query has a broken % escape");
    return false;
  }
  target_ = std::move(*target);
  return true;
}

std::string Exchange::header(const char* name) const { return std::string(reader_->header(name)); }

bool Exchange::has_body() const {
  return reader_->parser.chunked() || reader_->parser.content_length().value_or(0) > 0;
}

int Exchange::fd() const { return transport_->fd(); }

bool Exchange::body_done() const { return reader_->parser.is_done(); }

bool Exchange::Abandoned() const {
  pollfd poll_fd{transport_->fd(), POLLRDHUP, 0};
  return poll(&poll_fd, 1, 0) > 0;
}

// --- the body ---------------------------------------------------------------

absl::StatusOr<std::string> Exchange::ReadBody() {
  std::string text;
  const auto promised = reader_->parser.content_length();
  text.reserve(promised.value_or(0) > kBodyBytesMax ? 0 : promised.value_or(kBodyBytesMax));
  transport_->ExpireIn(kPatience);
  for (;;) {
    error_code error;
    const size_t n = reader_->ReadSome(chunk_, sizeof(chunk_), &error);
    if (error) {
      keep_alive_ = false;
      explicit_bzero(text.data(), text.size());
      if (error != boost::beast::error::timeout) {
        return absl::InvalidArgumentError(absl::StrCat("the body: ", error.message()));
      }
      return absl::DeadlineExceededError("the body did not arrive in time");
    }
    if (n == 0) return text;
    if (text.size() + n > kBodyBytesMax) {
      keep_alive_ = false;
      explicit_bzero(text.data(), text.size());
      return absl::OutOfRangeError(
          absl::StrCat("the body has more than ", kBodyBytesMax, " bytes"));
    }
    text.append(chunk_, n);
  }
}

Exchange::int_type Exchange::underflow() {
  error_code error;
  transport_->ExpireIn(kPatience);
  const size_t n = reader_->ReadSome(chunk_, sizeof(chunk_), &error);
  if (n == 0) return traits_type::eof();
  setg(chunk_, chunk_, chunk_ + n);
  return traits_type::to_int_type(chunk_[0]);
}

// --- the answer -------------------------------------------------------------

void Exchange::Answer(unsigned status, std::string body, const char* content_type) {
  answered_ = true;
  // What is left of the body would be taken for the next request.
  if (!body_done()) keep_alive_ = false;
  http::response<http::string_body> response;
  response.result(status);
  response.set(http::field::server, kServer);
  if (status != 204) response.set(http::field::content_type, content_type);
  if (!allow_.empty()) response.set(http::field::allow, allow_);
  for (const auto& [name, value] : headers_) response.set(name, value);
  if (status == 503) response.set(http::field::retry_after, kRetryAfter_s);
  if (status == 401) response.set(http::field::www_authenticate, "Bearer");
  response.keep_alive(keep_alive_);
  response.body() = std::move(body);
  const bool json = absl::string_view(content_type) == "application/json";
  if (json && status != 204 && !response.body().ends_with('\n')) response.body().push_back('\n');
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
  if (!body_done()) keep_alive_ = false;
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
  if (error) keep_alive_ = false;
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
  if (body_done() || aborted_ || !answered_) return;
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
