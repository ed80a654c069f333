#include "http/transport.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/error.hpp>

namespace wicket::http {
namespace {

using boost::beast::error_code;

error_code Errno(int number) { return {number, boost::system::system_category()}; }

}  // namespace

Transport::Transport(Fd fd) : fd_(std::move(fd)) {
  fcntl(fd_.get(), F_SETFL, fcntl(fd_.get(), F_GETFL) | O_NONBLOCK);
}

void Transport::Shutdown() { shutdown(fd_.get(), SHUT_RDWR); }

void Transport::Refuse(absl::string_view answer) {
  send(fd_.get(), answer.data(), answer.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  shutdown(fd_.get(), SHUT_WR);
}

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

}  // namespace wicket::http
