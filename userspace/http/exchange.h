// One HTTP request and its answer.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <streambuf>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/status.h"
#include "http/target.h"

namespace wicket::http {

class Transport;

// What a sender may do: each role includes those before it. kLockedOut: nothing; its token was not
// looked at, since its address has guessed too often.
enum class Role : int { kLockedOut, kNone, kMetrics, kRead, kWrite };
const char* ToString(Role role);
std::optional<Role> ParseRole(absl::string_view text);

// With this header a front end, which may do more, tells what the sender behind it may do.
inline constexpr char kRoleHeader[] = "Wicket-Role";

// What an error is to HTTP, and to programs: 404 "not_found", ...
struct ErrorKind {
  unsigned http_status;
  const char* code;
};
ErrorKind KindOf(const absl::Status& status);

// Bytes of a connection that were read ahead of the request they belong to.
//
// Secrets: preshared keys come through it; wiped when it goes.
class ReadAhead {
 public:
  ReadAhead();
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;

 private:
  friend class Exchange;
  struct Buffer;  // Beast's
  std::unique_ptr<Buffer> buffer_;
};

// Reads one request, then gives one answer. A handler reads a body whole, or as a stream where it
// may be too large to hold; the same goes for answers.
//
// Thread: one.
class Exchange : private std::streambuf {
 public:
  static constexpr size_t kHeaderBytesMax = 16 << 10;
  static constexpr size_t kBodyBytesMax = 1 << 20;
  static constexpr absl::Duration kIdle = absl::Seconds(60);  // between requests
  static constexpr absl::Duration kPatience =
      absl::Seconds(10);  // for a header, a whole body, a piece of a stream, a write

  // All three outlive it.
  Exchange(Transport* transport, ReadAhead* read_ahead, const std::atomic<bool>* stopping);
  ~Exchange() override;

  // Reads the header. Returns: false when there is none, or a bad one, which has
  // then been answered.
  bool ReadHeader(absl::Duration idle = kIdle);
  // No other request follows on the connection. After ReadHeader(), before the answer.
  void set_last() { keep_alive_ = false; }

  const std::string& method() const { return method_; }
  const Target& target() const { return target_; }
  // As it was sent, undecoded.
  const std::string& raw_target() const { return raw_target_; }
  std::string header(const char* name) const;
  Role role = Role::kNone;
  // What the sender may do by now, for an answer that takes long: rights can be taken away.
  std::function<Role()> role_now = [this] { return role; };
  bool stopping() const { return *stopping_; }
  // The client has hung up, or will send nothing more. Cost: a system call.
  bool Abandoned() const;
  int fd() const;  // of the connection, to be polled

  // Errors: OutOfRange when it is larger than kBodyBytesMax; DeadlineExceeded; InvalidArgument when
  //         it ends early or is no body.
  absl::StatusOr<std::string> ReadBody();
  // The body as it comes. The stream ends early when the client does, or is too slow.
  std::streambuf* body() { return this; }
  // True when the body came to its proper end.
  bool body_done() const;

  // An answer at once, JSON unless said otherwise. A line feed at the end of JSON is added where
  // it is missing.
  void Answer(unsigned status, std::string body, const char* content_type = "application/json");
  void AnswerError(const absl::Status& status);
  void AnswerError(unsigned status, const char* code, absl::string_view message);
  void set_allow(std::string methods) { allow_ = std::move(methods); }
  // One more header, of Answer() and AnswerError() only.
  void AddHeader(std::string name, std::string value) {
    headers_.emplace_back(std::move(name), std::move(value));
  }
  // An answer in pieces, of status 200. Returns: false when the client is gone or too slow.
  bool BeginStream(const char* content_type);
  bool Write(absl::string_view piece);
  bool EndStream();
  // Ends the connection with the answer half given, or with none.
  void Abort() {
    keep_alive_ = false;
    aborted_ = true;
  }

  // Takes in what the client still sends, for a while: a client that is cut off while it
  // sends never reads its answer.
  void Linger();

  // Whether another request may follow on the connection.
  bool keep_alive() const { return keep_alive_; }
  // Whether the request may have a body.
  bool has_body() const;

 private:
  struct Reader;  // Beast's parser, so that no handler needs Beast

  int_type underflow() override;

  Transport* transport_;
  const std::atomic<bool>* stopping_;
  std::unique_ptr<Reader> reader_;
  std::string method_, allow_, raw_target_;
  Target target_;
  std::vector<std::pair<std::string, std::string>> headers_;
  bool keep_alive_ = false;
  bool answered_ = false;
  bool aborted_ = false;
  char chunk_[16 << 10];
};

}  // namespace wicket::http
