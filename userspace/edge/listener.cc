#include "edge/listener.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"

namespace wicket::edge {
namespace {

constexpr int kBacklog = 128;

}  // namespace

absl::StatusOr<Fd> ListenAt(const Endpoint& endpoint) {
  sockaddr_storage storage;
  const socklen_t bytes = ToSockaddr(endpoint, &storage);
  Fd fd(socket(storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket()");
  const int on = 1;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  // So that each address family is listed, and an IPv4 address has one form.
  if (storage.ss_family == AF_INET6) {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
  }
  const std::string name = absl::StrCat("listen: ", ToString(endpoint));
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&storage), bytes) != 0) {
    return ErrnoStatus(errno, absl::StrCat(name, ": bind()"),
                       errno == EADDRINUSE ? "another process listens there: ss -ltnp"
                       : errno == EACCES   ? "a port below 1024 needs a systemd socket"
                                           : "is it an address of this machine?");
  }
  if (listen(fd.get(), kBacklog) != 0) return ErrnoStatus(errno, absl::StrCat(name, ": listen()"));
  return fd;
}

}  // namespace wicket::edge
