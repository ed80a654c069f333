#include "http/unix_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"

namespace wicket::http {
namespace {

constexpr mode_t kSocketMode = 0660;
constexpr char kHint[] = "a second wicketd needs a control.socket of its own";

const sockaddr* Generic(const sockaddr_un& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

// Errors: FailedPrecondition when a living process has the socket.
absl::Status RemoveDeadSocket(const std::string& path, const sockaddr_un& address) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0 || !S_ISSOCK(info.st_mode)) return absl::OkStatus();
  const Fd probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe.valid()) return ErrnoStatus(errno, "socket(AF_UNIX)");
  const int error = connect(probe.get(), Generic(address), sizeof(address)) == 0 ? 0 : errno;
  if (error == 0) {
    ucred owner{};
    socklen_t bytes = sizeof(owner);
    getsockopt(probe.get(), SOL_SOCKET, SO_PEERCRED, &owner, &bytes);
    return absl::FailedPreconditionError(absl::StrCat("control.socket ", path, ": process ",
                                                      owner.pid, " answers there (", kHint, ")"));
  }
  if (error == EAGAIN) {  // its backlog is full
    return absl::FailedPreconditionError(
        absl::StrCat("control.socket ", path, ": another process listens there (", kHint, ")"));
  }
  if (error != ECONNREFUSED) {
    return ErrnoStatus(error, absl::StrCat("connect(", path, ")"),
                       "is it another program's? name another control.socket");
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoStatus(errno, absl::StrCat("unlink(", path, ")"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UnixListener> UnixListener::Bind(const std::string& path, int backlog,
                                                std::optional<gid_t> group) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("control.socket ", path, ": longer than ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  path.copy(address.sun_path, path.size());
  const auto folder = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  WICKET_RETURN_IF_ERROR(RemoveDeadSocket(path, address));
  UnixListener listener;
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket(AF_UNIX)");
  fchmod(fd.get(), 0);  // bind() makes the file with the mode of the socket
  if (bind(fd.get(), Generic(address), sizeof(address)) != 0) {
    return ErrnoStatus(errno, absl::StrCat("bind(", path, ")"));
  }
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return ErrnoStatus(errno, absl::StrCat("lstat(", path, ")"));
  // From here on the socket is ours to remove.
  listener.fd_ = std::move(fd);
  listener.path_ = path;
  listener.device_ = info.st_dev;
  listener.inode_ = info.st_ino;
  if (group && chown(path.c_str(), static_cast<uid_t>(-1), *group) != 0) {
    return ErrnoStatus(errno, absl::StrCat("chown(", path, ", group ", *group, ")"));
  }
  if (chmod(path.c_str(), kSocketMode) != 0) {
    return ErrnoStatus(errno, absl::StrCat("chmod(", path, ")"));
  }
  if (listen(listener.fd(), backlog) != 0) {
    return ErrnoStatus(errno, absl::StrCat("listen(", path, ")"));
  }
  return listener;
}

// While the descriptor is open, the kernel gives the inode of its file to no other.
UnixListener::~UnixListener() {
  struct stat info;
  if (!fd_.valid() || lstat(path_.c_str(), &info) != 0) return;
  if (info.st_dev == device_ && info.st_ino == inode_) unlink(path_.c_str());
}

}  // namespace wicket::http
