#include "tools/blast/locality.h"

#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <string>

#include "base/fd.h"

namespace wicket::blast {
namespace {

struct Route {
  unsigned char type = RTN_UNSPEC;
  int ifindex = 0;
  bool gateway = false;
};

int TakeAttribute(const nlattr* attribute, void* data) {
  auto* route = static_cast<Route*>(data);
  if (mnl_attr_get_type(attribute) == RTA_OIF) {
    route->ifindex = static_cast<int>(mnl_attr_get_u32(attribute));
  }
  route->gateway = route->gateway || mnl_attr_get_type(attribute) == RTA_GATEWAY ||
                   mnl_attr_get_type(attribute) == RTA_VIA;
  return MNL_CB_OK;
}

int TakeRoute(const nlmsghdr* message, void* data) {
  static_cast<Route*>(data)->type =
      static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message))->rtm_type;
  return mnl_attr_parse(message, sizeof(rtmsg), TakeAttribute, data);
}

// Returns: type RTN_UNSPEC when there is none.
Route RouteTo(const Address& target) {
  Route route;
  const std::unique_ptr<mnl_socket, int (*)(mnl_socket*)> netlink(mnl_socket_open(NETLINK_ROUTE),
                                                                  mnl_socket_close);
  if (!netlink || mnl_socket_bind(netlink.get(), 0, MNL_SOCKET_AUTOPID) != 0) return route;
  alignas(nlmsghdr) char buffer[8192];
  nlmsghdr* request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = RTM_GETROUTE;
  request->nlmsg_flags = NLM_F_REQUEST;
  auto* asked = static_cast<rtmsg*>(mnl_nlmsg_put_extra_header(request, sizeof(rtmsg)));
  asked->rtm_family = target.family == Family::kIpv4 ? AF_INET : AF_INET6;
  asked->rtm_dst_len = target.bits();
  mnl_attr_put(request, RTA_DST, target.size(), target.bytes.data());
  if (mnl_socket_sendto(netlink.get(), request, request->nlmsg_len) < 0) return route;
  const ssize_t received = mnl_socket_recvfrom(netlink.get(), buffer, sizeof(buffer));
  if (received > 0) {
    mnl_cb_run(buffer, static_cast<size_t>(received), 0, mnl_socket_get_portid(netlink.get()),
               TakeRoute, &route);
  }
  return route;
}

bool IsVirtual(int ifindex) {
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  if (if_indextoname(static_cast<unsigned>(ifindex), request.ifr_name) == nullptr) return false;
  request.ifr_data = reinterpret_cast<char*>(&info);
  if (ioctl(fd.get(), SIOCETHTOOL, &request) != 0) return false;
  constexpr const char* kDrivers[] = {"veth", "bridge", "dummy"};
  return std::any_of(std::begin(kDrivers), std::end(kDrivers),
                     [&](const char* driver) { return strcmp(info.driver, driver) == 0; });
}

}  // namespace

bool StaysHere(const Address& target) {
  const Route route = RouteTo(target);
  if (route.type == RTN_LOCAL) return true;
  return route.type == RTN_UNICAST && !route.gateway && IsVirtual(route.ifindex);
}

}  // namespace wicket::blast
