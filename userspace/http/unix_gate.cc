#include "http/unix_gate.h"

#include <grp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace wicket::http {
namespace {

constexpr int kBacklog = 128;

absl::StatusOr<std::optional<gid_t>> GroupId(const std::string& name) {
  if (name.empty()) return std::nullopt;
  std::vector<char> buffer(1 << 16);
  group entry, *found = nullptr;
  if (getgrnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found) {
    return absl::NotFoundError(absl::StrCat("control: no group \"", name, "\" on this system"));
  }
  return entry.gr_gid;
}

bool IsMember(int fd, gid_t primary, gid_t wanted) {
  if (primary == wanted) return true;
  std::vector<gid_t> groups(256);
  socklen_t bytes = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups.data(), &bytes) != 0) return false;
  groups.resize(bytes / sizeof(gid_t));
  return std::find(groups.begin(), groups.end(), wanted) != groups.end();
}

// A front end may say that the sender behind it may do less, but not that it may do more.
Role RoleOf(Role role, const Exchange& exchange) {
  const std::string told = exchange.header(kRoleHeader);
  return told.empty() ? role : std::min(role, ParseRole(told).value_or(Role::kNone));
}

}  // namespace

absl::Status CheckOptions(const UnixOptions& options) {
  WICKET_RETURN_IF_ERROR(GroupId(options.group).status());
  return GroupId(options.write_group).status();
}

absl::StatusOr<std::unique_ptr<Gate>> UnixGate::Open(const UnixOptions& options) {
  WICKET_ASSIGN_OR_RETURN(const std::optional<gid_t> group, GroupId(options.group));
  WICKET_ASSIGN_OR_RETURN(const std::optional<gid_t> write_group, GroupId(options.write_group));
  WICKET_ASSIGN_OR_RETURN(UnixListener listener,
                          UnixListener::Bind(options.socket, kBacklog, group));
  return std::unique_ptr<Gate>(new UnixGate(std::move(listener), write_group));
}

std::optional<Visitor> UnixGate::Receive(Fd fd) {
  ucred peer{};
  socklen_t bytes = sizeof(peer);
  if (getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &bytes) != 0) return std::nullopt;
  const bool privileged = peer.uid == 0 || peer.uid == geteuid();
  const bool writes = privileged || !write_group_ || IsMember(fd.get(), peer.gid, *write_group_);
  const Role role = writes ? Role::kWrite : Role::kRead;
  return Visitor{.transport = std::make_unique<Transport>(std::move(fd)),
                 .role_of = [role](const Exchange& exchange) { return RoleOf(role, exchange); },
                 .privileged = privileged,
                 .place = nullptr};
}

}  // namespace wicket::http
