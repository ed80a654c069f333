// A connection's bytes, with a deadline.
//
// Beast reads and writes through it as through any synchronous stream.
#pragma once

#include <string.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/error.hpp>
#include <memory>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/status.h"

namespace wicket::http {

// Thread: one; but Shutdown from any.
class Transport {
 public:
  explicit Transport(Fd fd);  // made non-blocking
  virtual ~Transport() = default;

  // All reads and writes from here on may together take this long.
  void ExpireIn(absl::Duration duration) { deadline_ = SteadyNow() + duration; }
  // Makes all that waits on the connection fail.
  void Shutdown();
  int fd() const { return fd_.get(); }
  // Says `answer` if that needs no waiting, and that nothing follows.
  virtual void Refuse(absl::string_view answer);

  // Before the first byte: what a handshake needs.
  virtual absl::Status Accept() { return absl::OkStatus(); }

  // What Beast calls.
  template <typename Buffers>
  size_t read_some(const Buffers& buffers, boost::beast::error_code& error) {
    for (auto it = boost::asio::buffer_sequence_begin(buffers);
         it != boost::asio::buffer_sequence_end(buffers); ++it) {
      const boost::asio::mutable_buffer buffer = *it;
      if (buffer.size() > 0) return Read(buffer.data(), buffer.size(), &error);
    }
    error = {};
    return 0;
  }
  template <typename Buffers>
  size_t write_some(const Buffers& buffers, boost::beast::error_code& error) {
    boost::asio::const_buffer first;
    for (auto it = boost::asio::buffer_sequence_begin(buffers);
         it != boost::asio::buffer_sequence_end(buffers) && first.size() == 0; ++it) {
      first = *it;
    }
    error = {};
    if (first.size() == 0) return 0;
    if (first.size() >= kPieceBytes) return Write(first.data(), first.size(), &error);
    // A header is many small buffers: one system call, and one TLS record, for all of them.
    char piece[kPieceBytes];
    const size_t bytes = boost::asio::buffer_copy(boost::asio::buffer(piece), buffers);
    const size_t written = Write(piece, bytes, &error);
    explicit_bzero(piece, bytes);
    return written;
  }
  template <typename Buffers>
  size_t read_some(const Buffers& buffers) {
    boost::beast::error_code error;
    const size_t n = read_some(buffers, error);
    if (error) throw boost::beast::system_error(error);
    return n;
  }
  template <typename Buffers>
  size_t write_some(const Buffers& buffers) {
    boost::beast::error_code error;
    const size_t n = write_some(buffers, error);
    if (error) throw boost::beast::system_error(error);
    return n;
  }

 protected:
  // Waits until the descriptor is ready for `events`. Returns: false past the deadline.
  bool Wait(short events, boost::beast::error_code* error) const;

 private:
  static constexpr size_t kPieceBytes = 4096;

  virtual size_t Read(void* data, size_t bytes, boost::beast::error_code* error);
  virtual size_t Write(const void* data, size_t bytes, boost::beast::error_code* error);

  Fd fd_;
  absl::Duration deadline_ = absl::InfiniteDuration();  // of the steady clock
};

}  // namespace wicket::http
