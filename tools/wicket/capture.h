// Captured packets as frames: those of a file, or one in hexadecimal.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace wicket::tools {

using ByteVector = std::vector<uint8_t>;

// Calls `take` with each packet of a capture (pcap or pcapng), as an Ethernet frame.
// Errors: InvalidArgument names --pcap; `take` may have been called.
absl::Status ReadCapture(const std::string& path,
                         const std::function<void(std::span<const uint8_t>)>& take);

// Colons and white space between the digits are skipped.
// Errors: InvalidArgument names --hex.
absl::StatusOr<ByteVector> ParseHex(absl::string_view text);

// The UDP payload of a frame, also where classify() does not take it. Fragments are not recognised.
// Returns: empty when there is none, when it is cut short, and after an IPv6 extension header.
std::span<const uint8_t> FindUdpPayload(std::span<const uint8_t> frame);

}  // namespace wicket::tools
