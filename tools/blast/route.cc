#include "tools/blast/route.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/ethtool.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/fd.h"

namespace wicket::blast {
namespace {

constexpr char kVlanDriver[] = "802.1Q VLAN Support";
constexpr absl::Duration kPatience = absl::Seconds(1), kPause = absl::Milliseconds(20);

struct Route {
  unsigned char type = RTN_UNSPEC;
  int ifindex = 0;
  std::optional<Address> gateway;
};

// Sends one Netlink request about an address, and calls `take` with the answer and `data`.
// Returns: false when there was no answer.
template <typename Extra>
bool Ask(uint16_t type, uint16_t flags, const Extra& extra, int attribute, const Address& about,
         mnl_cb_t take, void* data) {
  const std::unique_ptr<mnl_socket, int (*)(mnl_socket*)> netlink(mnl_socket_open(NETLINK_ROUTE),
                                                                  mnl_socket_close);
  if (!netlink || mnl_socket_bind(netlink.get(), 0, MNL_SOCKET_AUTOPID) != 0) return false;
  alignas(nlmsghdr) char buffer[8192];
  nlmsghdr* request = mnl_nlmsg_put_header(buffer);
  request->nlmsg_type = type;
  request->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
  *static_cast<Extra*>(mnl_nlmsg_put_extra_header(request, sizeof(Extra))) = extra;
  mnl_attr_put(request, static_cast<uint16_t>(attribute), about.size(), about.bytes.data());
  if (mnl_socket_sendto(netlink.get(), request, request->nlmsg_len) < 0) return false;
  const ssize_t received = mnl_socket_recvfrom(netlink.get(), buffer, sizeof(buffer));
  return received > 0 && mnl_cb_run(buffer, static_cast<size_t>(received), 0,
                                    mnl_socket_get_portid(netlink.get()), take, data) >= 0;
}

uint8_t FamilyOf(const Address& address) {
  return address.family == Family::kIpv4 ? AF_INET : AF_INET6;
}

int TakeRouteAttribute(const nlattr* attribute, void* data) {
  auto* route = static_cast<Route*>(data);
  const auto type = mnl_attr_get_type(attribute);
  if (type == RTA_OIF) route->ifindex = static_cast<int>(mnl_attr_get_u32(attribute));
  if (type == RTA_GATEWAY || type == RTA_VIA) {
    Address gateway;
    gateway.family = mnl_attr_get_payload_len(attribute) == 4 ? Family::kIpv4 : Family::kIpv6;
    if (type == RTA_GATEWAY) {
      memcpy(gateway.bytes.data(), mnl_attr_get_payload(attribute), gateway.size());
    } else {  // an IPv4 route by an IPv6 router
      const auto* via = static_cast<const rtvia*>(mnl_attr_get_payload(attribute));
      gateway.family = via->rtvia_family == AF_INET ? Family::kIpv4 : Family::kIpv6;
      memcpy(gateway.bytes.data(), via->rtvia_addr, gateway.size());
    }
    route->gateway = gateway;
  }
  return MNL_CB_OK;
}

int TakeRoute(const nlmsghdr* message, void* data) {
  static_cast<Route*>(data)->type =
      static_cast<const rtmsg*>(mnl_nlmsg_get_payload(message))->rtm_type;
  return mnl_attr_parse(message, sizeof(rtmsg), TakeRouteAttribute, data);
}

// Returns: type RTN_UNSPEC when there is no route.
Route RouteTo(const Address& target) {
  Route route;
  rtmsg asked{};
  asked.rtm_family = FamilyOf(target);
  asked.rtm_dst_len = target.bits();
  if (!Ask(RTM_GETROUTE, 0, asked, RTA_DST, target, TakeRoute, &route)) return {};
  return route;
}

int TakeNeighbourAttribute(const nlattr* attribute, void* data) {
  if (mnl_attr_get_type(attribute) == NDA_LLADDR && mnl_attr_get_payload_len(attribute) == 6) {
    auto* station = static_cast<std::optional<Mac>*>(data);
    memcpy(station->emplace().data(), mnl_attr_get_payload(attribute), 6);
  }
  return MNL_CB_OK;
}

int TakeNeighbour(const nlmsghdr* message, void* data) {
  const auto* neighbour = static_cast<const ndmsg*>(mnl_nlmsg_get_payload(message));
  if (neighbour->ndm_state & (NUD_FAILED | NUD_INCOMPLETE)) return MNL_CB_OK;
  return mnl_attr_parse(message, sizeof(ndmsg), TakeNeighbourAttribute, data);
}

// Returns: nullopt while the kernel does not know the MAC address.
std::optional<Mac> StationOf(const Address& neighbour, int ifindex) {
  std::optional<Mac> station;
  ndmsg asked{};
  asked.ndm_family = FamilyOf(neighbour);
  asked.ndm_ifindex = ifindex;
  if (!Ask(RTM_GETNEIGH, 0, asked, NDA_DST, neighbour, TakeNeighbour, &station)) return {};
  return station;
}

// Returns: an empty text when the driver does not say.
std::string DriverOf(int ifindex) {
  const Fd fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  ethtool_drvinfo info{};
  info.cmd = ETHTOOL_GDRVINFO;
  if (if_indextoname(static_cast<unsigned>(ifindex), request.ifr_name) == nullptr) return "";
  request.ifr_data = reinterpret_cast<char*>(&info);
  return ioctl(fd.get(), SIOCETHTOOL, &request) == 0 ? info.driver : "";
}

bool IsVirtual(int ifindex) {
  const std::string driver = DriverOf(ifindex);
  return driver == "veth" || driver == "dummy";
}

// Whether the interface leads to the Internet, as a container's veth to its host's bridge does.
bool LeadsOut(int ifindex) {
  constexpr const char* kElsewhere[] = {"9.9.9.9", "2620:fe::9"};
  return std::any_of(std::begin(kElsewhere), std::end(kElsewhere), [&](const char* address) {
    return RouteTo(*ParseAddress(address)).ifindex == ifindex;
  });
}

}  // namespace

bool StaysHere(const Address& target, const std::string& interface) {
  const Route route = RouteTo(target);
  if (route.type == RTN_LOCAL) return true;
  const bool chosen =
      interface.empty() || route.ifindex == static_cast<int>(if_nametoindex(interface.c_str()));
  return chosen && route.type == RTN_UNICAST && !route.gateway && IsVirtual(route.ifindex) &&
         !LeadsOut(route.ifindex);
}

absl::StatusOr<Hop> FirstHop(const Endpoint& target, const std::string& interface, bool tagged) {
  Route route = RouteTo(target.address);
  const std::string name = ToString(target.address);
  if (route.type == RTN_LOCAL) {
    return absl::FailedPreconditionError(
        absl::StrCat(name, " is this machine's own: no interface leads to it; use --via udp"));
  }
  const int leads_by = route.ifindex;
  if (!interface.empty()) route.ifindex = static_cast<int>(if_nametoindex(interface.c_str()));
  const bool by_vlan = tagged && DriverOf(leads_by) == kVlanDriver;
  const int asked = by_vlan ? leads_by : route.ifindex;
  Hop hop;
  char text[IF_NAMESIZE];
  if (by_vlan && route.ifindex == leads_by) {
    return absl::InvalidArgumentError(
        absl::StrCat("--vlan: ", name,
                     " is reached by a VLAN's interface, which tags by itself; name "
                     "the one below it with --interface"));
  }
  if (if_indextoname(static_cast<unsigned>(route.ifindex), text) == nullptr) {
    return absl::NotFoundError(interface.empty() ? absl::StrCat("no route leads to ", name)
                                                 : absl::StrCat("no interface ", interface));
  }
  hop.interface = text;
  // An empty datagram makes the kernel resolve the neighbour. WireGuard ignores it.
  sockaddr_storage address;
  socklen_t bytes = ToSockaddr(target, &address);
  const Fd fd(socket(address.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!by_vlan) {
    setsockopt(fd.get(), SOL_SOCKET, SO_BINDTODEVICE, text, static_cast<socklen_t>(strlen(text)));
  }
  if (!fd.valid() || connect(fd.get(), reinterpret_cast<sockaddr*>(&address), bytes) != 0) {
    return ErrnoStatus(errno, absl::StrCat("connect(", ToString(target), ")"));
  }
  send(fd.get(), nullptr, 0, MSG_NOSIGNAL);
  bytes = sizeof(address);
  if (getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &bytes) == 0) {
    if (const auto own = FromSockaddr(&address, bytes)) hop.own = own->address;
  }
  ifreq request{};
  memcpy(request.ifr_name, text, IFNAMSIZ);
  if (ioctl(fd.get(), SIOCGIFHWADDR, &request) != 0) {
    return ErrnoStatus(errno, absl::StrCat("SIOCGIFHWADDR(", text, ")"));
  }
  memcpy(hop.own_station.data(), request.ifr_hwaddr.sa_data, hop.own_station.size());
  const Address& next = route.gateway ? *route.gateway : target.address;
  for (const absl::Duration end = SteadyNow() + kPatience; SteadyNow() < end;
       absl::SleepFor(kPause)) {
    if (const auto station = StationOf(next, asked)) {
      hop.station = *station;
      return hop;
    }
  }
  return absl::NotFoundError(absl::StrCat(ToString(next), " does not answer on ", hop.interface));
}

}  // namespace wicket::blast
