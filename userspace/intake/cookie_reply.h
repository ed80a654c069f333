// The only packet that is ever sent to an unproven sender.
#pragma once

#include <cstdint>
#include <span>

#include "wire/messages.h"

namespace wicket::intake {

// Turns the frame of an initiation into the frame of a reply to it, in place: back to its source,
// with its VLAN tags, and at least 84 bytes shorter.
//
// Requires: `found` was parsed from `frame`.
// Returns:  the length of the reply frame.
uint32_t WriteCookieReply(std::span<uint8_t> frame, const wire::Frame& found,
                          const wire::CookieReply& reply);

}  // namespace wicket::intake
