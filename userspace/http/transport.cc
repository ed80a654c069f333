#include "http/transport.h"

#include <fcntl.h>
#include <openssl/err.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/error.hpp>

#include "absl/strings/str_cat.h"

namespace wicket::http {
namespace {

using boost::beast::error_code;

error_code Errno(int number) { return {number, boost::system::system_category()}; }

std::string TlsError() {
  char text[256];
  ERR_error_string_n(ERR_get_error(), text, sizeof(text));
  return text;
}

class TlsTransport : public Transport {
 public:
  TlsTransport(Fd fd, SSL_CTX* context) : Transport(std::move(fd)), ssl_(SSL_new(context)) {
    SSL_set_fd(ssl_.get(), this->fd());
  }

  absl::Status Accept() override {
    error_code error;
    Run([this] { return SSL_accept(ssl_.get()); }, &error);
    if (!error) return absl::OkStatus();
    return absl::UnauthenticatedError(absl::StrCat("TLS: ", error.message()));
  }

 private:
  struct Free {
    void operator()(SSL* ssl) const { SSL_free(ssl); }
  };

  // Runs a step of OpenSSL's until it need not wait. Returns: bytes; 0 with an error.
  template <typename Step>
  size_t Run(Step step, error_code* error) {
    for (;;) {
      ERR_clear_error();
      const int n = step();
      if (n > 0) {
        *error = {};
        return static_cast<size_t>(n);
      }
      const int why = SSL_get_error(ssl_.get(), n);
      if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
        if (!Wait(why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, error)) return 0;
        continue;
      }
      *error = why == SSL_ERROR_ZERO_RETURN ? boost::asio::error::eof : Errno(EPROTO);
      return 0;
    }
  }

  size_t Read(void* data, size_t bytes, error_code* error) override {
    const int most = static_cast<int>(std::min<size_t>(bytes, 1 << 30));
    return Run([&] { return SSL_read(ssl_.get(), data, most); }, error);
  }
  size_t Write(const void* data, size_t bytes, error_code* error) override {
    const int most = static_cast<int>(std::min<size_t>(bytes, 1 << 30));
    return Run([&] { return SSL_write(ssl_.get(), data, most); }, error);
  }

  std::unique_ptr<SSL, Free> ssl_;
};

}  // namespace

Transport::Transport(Fd fd) : fd_(std::move(fd)) {
  fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
}

void Transport::Shutdown() { shutdown(fd_.get(), SHUT_RDWR); }

bool Transport::Wait(short events, error_code* error) const {
  for (;;) {
    const bool endless = deadline_ == absl::InfiniteDuration();
    const int64_t left_ms = endless ? -1 : absl::ToInt64Milliseconds(deadline_ - SteadyNow());
    if (!endless && left_ms <= 0) {
      *error = boost::beast::error::timeout;
      return false;
    }
    pollfd poll_fd{fd_.get(), events, 0};
    const int ready = poll(&poll_fd, 1, static_cast<int>(std::min<int64_t>(left_ms, 1 << 30)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) {
      *error = Errno(errno);
      return false;
    }
  }
}

size_t Transport::Read(void* data, size_t bytes, error_code* error) {
  for (;;) {
    const ssize_t n = recv(fd_.get(), data, bytes, 0);
    *error = {};
    if (n > 0) return static_cast<size_t>(n);
    if (n == 0) *error = boost::asio::error::eof;
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) *error = Errno(errno);
    if (*error || !Wait(POLLIN, error)) return 0;
  }
}

size_t Transport::Write(const void* data, size_t bytes, error_code* error) {
  for (;;) {
    const ssize_t n = send(fd_.get(), data, bytes, MSG_NOSIGNAL);
    *error = {};
    if (n >= 0) return static_cast<size_t>(n);
    if (errno == EINTR) continue;
    if (errno != EAGAIN) *error = Errno(errno);
    if (*error || !Wait(POLLOUT, error)) return 0;
  }
}

absl::StatusOr<TlsContext> TlsContext::Load(const std::string& certificate,
                                            const std::string& key) {
  TlsContext tls;
  tls.context_ = std::shared_ptr<SSL_CTX>(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
  SSL_CTX_set_min_proto_version(tls.context_.get(), TLS1_3_VERSION);
  if (SSL_CTX_use_certificate_chain_file(tls.context_.get(), certificate.c_str()) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(certificate, ": ", TlsError()));
  }
  if (SSL_CTX_use_PrivateKey_file(tls.context_.get(), key.c_str(), SSL_FILETYPE_PEM) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(key, ": ", TlsError()));
  }
  return tls;
}

std::unique_ptr<Transport> TlsContext::Wrap(Fd fd) const {
  return std::make_unique<TlsTransport>(std::move(fd), context_.get());
}

}  // namespace wicket::http
