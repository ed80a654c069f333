#include "tools/wicket/capture.h"

#include <pcap/pcap.h>

#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace wicket::tools {
namespace {

// Turns a captured packet into an Ethernet frame. Returns: empty for links we do not know.
ByteVector ToEthernet(int link, std::span<const uint8_t> packet) {
  const auto with_header = [](std::span<const uint8_t> ip) {
    ByteVector frame(14);
    const bool v6 = !ip.empty() && ip[0] >> 4 == 6;
    frame[12] = v6 ? 0x86 : 0x08;
    frame[13] = v6 ? 0xdd : 0x00;
    frame.insert(frame.end(), ip.begin(), ip.end());
    return frame;
  };
  const auto skip = [&](size_t n) {
    return packet.size() < n ? std::span<const uint8_t>() : packet.subspan(n);
  };
  switch (link) {
    case DLT_EN10MB:
      return {packet.begin(), packet.end()};
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6:
      return with_header(packet);
    case DLT_NULL:
    case DLT_LOOP:
      return with_header(skip(4));
    case DLT_LINUX_SLL:
      return with_header(skip(16));
#ifdef DLT_LINUX_SLL2
    case DLT_LINUX_SLL2:
      return with_header(skip(20));
#endif
    default:
      return {};
  }
}

}  // namespace

absl::Status ReadCapture(const std::string& path,
                         const std::function<void(std::span<const uint8_t>)>& take) {
  char error[PCAP_ERRBUF_SIZE] = {};
  const std::unique_ptr<pcap_t, decltype(&pcap_close)> file(pcap_open_offline(path.c_str(), error),
                                                            pcap_close);
  if (!file) return absl::InvalidArgumentError(absl::StrCat("--pcap ", path, ": ", error));
  const int link = pcap_datalink(file.get());
  if (ToEthernet(link, ByteVector(64)).empty()) {
    return absl::InvalidArgumentError(
        absl::StrCat("--pcap ", path, ": link type ", link,
                     "; accepted: Ethernet, raw IP, Linux cooked, loopback"));
  }
  pcap_pkthdr* header;
  const u_char* data;
  size_t packets = 0;
  int result;
  while ((result = pcap_next_ex(file.get(), &header, &data)) == 1) {
    take(ToEthernet(link, {data, header->caplen}));
    ++packets;
  }
  if (result != PCAP_ERROR) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("--pcap ", path, ": after packet ", packets, ": ", pcap_geterr(file.get())));
}

absl::StatusOr<ByteVector> ParseHex(absl::string_view text) {
  std::string digits;
  for (char c : text) {
    if (absl::ascii_isxdigit(static_cast<unsigned char>(c))) {
      digits.push_back(c);
    } else if (!absl::ascii_isspace(static_cast<unsigned char>(c)) && c != ':') {
      return absl::InvalidArgumentError(
          absl::StrCat("--hex: found '", std::string(1, c), "'; accepted: hexadecimal digits"));
    }
  }
  if (digits.empty() || digits.size() % 2 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("--hex: found ", digits.size(), " digits; accepted: an even number, not 0"));
  }
  const std::string bytes = absl::HexStringToBytes(digits);
  return ByteVector(bytes.begin(), bytes.end());
}

std::span<const uint8_t> FindUdpPayload(std::span<const uint8_t> frame) {
  size_t at = 14;
  if (frame.size() < at) return {};
  auto type = static_cast<uint16_t>(frame[12] << 8 | frame[13]);
  while ((type == 0x8100 || type == 0x88a8) && frame.size() >= at + 4) {
    type = static_cast<uint16_t>(frame[at + 2] << 8 | frame[at + 3]);
    at += 4;
  }
  if (type == 0x0800 && frame.size() >= at + 20 && frame[at + 9] == 17) {
    at += static_cast<size_t>(frame[at] & 15) * 4;
  } else if (type == 0x86dd && frame.size() >= at + 40 && frame[at + 6] == 17) {
    at += 40;
  } else {
    return {};
  }
  if (frame.size() < at + 8) return {};
  const size_t udp_bytes = static_cast<size_t>(frame[at + 4] << 8 | frame[at + 5]);
  if (udp_bytes < 8 || frame.size() < at + udp_bytes) return {};
  return frame.subspan(at + 8, udp_bytes - 8);
}

}  // namespace wicket::tools
