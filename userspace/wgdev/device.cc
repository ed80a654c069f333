#include "wgdev/device.h"

#include <net/if.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "wgdev/netlink.h"
#include "wgdev/uapi.h"

namespace wicket::wgdev {

// --- ConfigDigest -----------------------------------------------------------

void ConfigDigest::AddPresharedKey(const uint8_t* key) {
  sum_ += absl::HashOf('p', absl::string_view(reinterpret_cast<const char*>(key), kKeyBytes));
}
void ConfigDigest::AddKeepalive(uint16_t seconds) { sum_ += absl::HashOf('k', seconds); }
void ConfigDigest::AddAllowedIp(const Prefix& prefix) {
  sum_ += absl::HashOf('a', prefix.address.family, prefix.address.bytes, prefix.length);
}

ConfigDigest DigestOf(const PeerConfig& config, bool hold_keepalive) {
  const Secret<kKeyBytes> none;
  ConfigDigest digest;
  digest.AddPresharedKey(config.preshared_key ? config.preshared_key->data() : none.data());
  digest.AddKeepalive(hold_keepalive ? 0 : config.persistent_keepalive_s);
  for (const Prefix& prefix : config.allowed_ips) digest.AddAllowedIp(prefix);
  return digest;
}

// --- devices ----------------------------------------------------------------

// The kernel starts modprobe for a name that it does not know, so it is not asked for one.
int InterfaceIndex(const std::string& name) {
  std::ifstream listed("/proc/thread-self/net/dev");
  for (std::string line; std::getline(listed, line);) {
    const absl::string_view text = absl::StripLeadingAsciiWhitespace(line);
    if (!absl::StartsWith(text, name) || text.size() <= name.size() || text[name.size()] != ':') {
      continue;
    }
    return static_cast<int>(if_nametoindex(name.c_str()));
  }
  return 0;
}

absl::StatusOr<std::unique_ptr<Device>> Open(const std::string& name, Backend backend,
                                             std::function<void()> progress) {
  if (backend == Backend::kAuto) {
    backend = access(UapiSocketPath(name).c_str(), F_OK) == 0 ? Backend::kUapi : Backend::kNetlink;
  }
  if (InterfaceIndex(name) == 0) {
    return absl::NotFoundError(absl::StrCat("if_nametoindex(", name,
                                            "): no such interface (make the WireGuard device "
                                            "first: `ip link add ",
                                            name, " type wireguard` or `wireguard-go ", name,
                                            "`)"));
  }
  return backend == Backend::kUapi ? OpenUapi(name, std::move(progress)) : OpenNetlink(name);
}

std::vector<absl::Status> ApplyBisecting(size_t count, size_t slice,
                                         const std::function<absl::Status(size_t, size_t)>& apply) {
  std::vector<absl::Status> results(count);
  absl::Status no_use;  // the error that ended the search
  std::function<void(size_t, size_t)> run = [&](size_t begin, size_t end) {
    absl::Status status = no_use.ok() ? apply(begin, end) : no_use;
    if (status.ok()) return;
    if (absl::IsNotFound(status) || absl::IsUnavailable(status)) no_use = status;
    if (end - begin == 1 || !no_use.ok()) {
      for (size_t i = begin; i < end; ++i) results[i] = status;
      return;
    }
    const size_t middle = begin + (end - begin) / 2;
    run(begin, middle);
    run(middle, end);
  };
  for (size_t begin = 0; begin < count; begin += slice) run(begin, std::min(begin + slice, count));
  return results;
}

}  // namespace wicket::wgdev
