// A peer as wicketd tells it in JSON, and as `wg` prints it.
#pragma once

#include <boost/json.hpp>
#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace wicket::tools {

// Fields of an object; one that is missing or of another type is empty, 0 or InfinitePast.
// NumberOf() throws for a number that is no int64_t.
std::string TextOf(const boost::json::object& object, const char* name);
int64_t NumberOf(const boost::json::object& object, const char* name);
absl::Time TimeOf(const boost::json::object& object, const char* name);

// "10.0.0.1/32, fd00::/64"; "(none)". Throws where `allowed_ips` is missing. PrintPeer() and
// PrintDumpLine() too throw for a peer of another shape than documented.
std::string AllowedIpsOf(const boost::json::object& peer);

// The peer's time is over.
bool Expired(const boost::json::object& peer);

// Prints a peer as `wg show` does, and what only Wicket knows after it.
void PrintPeer(const boost::json::object& peer);
// Prints a line of `wg show all dump`: device, key, preshared key, endpoint, allowed ips,
// handshake, received, sent, keepalive. `preshared_key`: empty for a peer without one.
void PrintDumpLine(const boost::json::object& peer, const std::string& preshared_key);

}  // namespace wicket::tools
