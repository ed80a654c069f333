// A connection's bytes, with a deadline: a Unix socket, TCP, or TLS over it.
//
// Beast reads and writes through it as through any synchronous stream.
#pragma once

#include <openssl/ssl.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/core/error.hpp>
#include <memory>

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

  // Before the first byte; TLS shakes hands here.
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
    for (auto it = boost::asio::buffer_sequence_begin(buffers);
         it != boost::asio::buffer_sequence_end(buffers); ++it) {
      const boost::asio::const_buffer buffer = *it;
      if (buffer.size() > 0) return Write(buffer.data(), buffer.size(), &error);
    }
    error = {};
    return 0;
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
  virtual size_t Read(void* data, size_t bytes, boost::beast::error_code* error);
  virtual size_t Write(const void* data, size_t bytes, boost::beast::error_code* error);

  Fd fd_;
  absl::Duration deadline_ = absl::InfiniteDuration();  // of the steady clock
};

// The certificate and key that TLS connections are served with.
class TlsContext {
 public:
  // Errors: name the file that cannot be used, and why.
  static absl::StatusOr<TlsContext> Load(const std::string& certificate, const std::string& key);
  std::unique_ptr<Transport> Wrap(Fd fd) const;

 private:
  std::shared_ptr<SSL_CTX> context_;
};

}  // namespace wicket::http
