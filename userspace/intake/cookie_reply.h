// The one packet that is ever sent to somebody who has proven nothing.
#pragma once

#include <cstdint>
#include <span>

#include "wire/messages.h"

namespace wicket::intake {

// Turns the frame of an initiation into the frame of a reply to it, in place: back to where
// it came from, with its VLAN tags, and 84 bytes shorter.
//
// Returns: the reply's bytes. Requires: `found` was parsed from `frame`.
uint32_t WriteCookieReply(std::span<uint8_t> frame, const wire::Frame& found,
                          const wire::CookieReply& reply);

}  // namespace wicket::intake
