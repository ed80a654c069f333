#include "xsk/interface.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"

namespace wicket::xsk {

std::array<uint8_t, 6> MacOf(int ifindex) {
  std::array<uint8_t, 6> mac{};
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  if (fd.valid() && if_indextoname(static_cast<unsigned>(ifindex), request.ifr_name) != nullptr &&
      ioctl(fd.get(), SIOCGIFHWADDR, &request) == 0) {
    memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
  }
  return mac;
}

std::optional<uint32_t> AskQueueCount(const std::string& nic) {
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ethtool_channels channels{};
  channels.cmd = ETHTOOL_GCHANNELS;
  ifreq request{};
  strncpy(request.ifr_name, nic.c_str(), IFNAMSIZ - 1);
  request.ifr_data = reinterpret_cast<char*>(&channels);
  if (!fd.valid()) return std::nullopt;
  if (ioctl(fd.get(), SIOCETHTOOL, &request) != 0) {
    return errno == EOPNOTSUPP ? std::optional<uint32_t>(1) : std::nullopt;
  }
  const uint32_t queues = channels.rx_count + channels.combined_count;
  return queues == 0 ? 1 : queues;
}

uint32_t QueueCount(const std::string& nic) { return AskQueueCount(nic).value_or(1); }

}  // namespace wicket::xsk
