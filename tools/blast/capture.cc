#include "tools/blast/capture.h"

#include <arpa/inet.h>
#include <pcap/pcap.h>
#include <string.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace wicket::blast {
namespace {

constexpr uint8_t kUdp = 17, kHopLimit = 64;
constexpr size_t kUdpHeaderBytes = 8;

void Append(std::vector<uint8_t>* out, std::initializer_list<uint32_t> values, size_t bytes) {
  for (const uint32_t value : values) {
    for (size_t i = bytes; i-- > 0;) out->push_back(static_cast<uint8_t>(value >> 8 * i));
  }
}

void Append(std::vector<uint8_t>* out, const Address& address) {
  out->insert(out->end(), address.bytes.begin(), address.bytes.begin() + address.size());
}

// The ones' complement sum of [RFC 1071], not yet inverted.
uint32_t Sum(const uint8_t* bytes, size_t size, uint32_t sum) {
  for (size_t i = 0; i < size; ++i) sum += i % 2 ? bytes[i] : uint32_t{bytes[i]} << 8;
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return sum;
}

void SetChecksum(uint8_t* at, uint32_t sum) {
  const uint32_t checksum = ~sum & 0xffff;
  at[0] = static_cast<uint8_t>(checksum >> 8);
  at[1] = static_cast<uint8_t>(checksum);
}

std::vector<uint8_t> FrameOf(const Endpoint& from, const Endpoint& to,
                             const wire::Initiation& message) {
  std::vector<uint8_t> frame{2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};  // made-up stations
  const bool ipv4 = to.address.family == Family::kIpv4;
  const auto udp_bytes = static_cast<uint32_t>(kUdpHeaderBytes + sizeof(message));
  Append(&frame, {ipv4 ? 0x0800u : 0x86ddu}, 2);
  const size_t ip = frame.size();
  if (ipv4) {
    Append(&frame, {0x4500, 20 + udp_bytes, 0, 0x4000, kHopLimit << 8 | kUdp, 0}, 2);
  } else {
    Append(&frame, {0x6000, 0, udp_bytes, kUdp << 8 | kHopLimit}, 2);
  }
  Append(&frame, from.address);
  Append(&frame, to.address);
  if (ipv4) SetChecksum(&frame[ip + 10], Sum(&frame[ip], 20, 0));
  const size_t udp = frame.size(), addresses = 2 * to.address.size();
  Append(&frame, {from.port, to.port, udp_bytes, 0}, 2);
  const auto* bytes = reinterpret_cast<const uint8_t*>(&message);
  frame.insert(frame.end(), bytes, bytes + sizeof(message));
  const uint32_t pseudo = Sum(&frame[udp - addresses], addresses, kUdp + udp_bytes);
  SetChecksum(&frame[udp + 6], Sum(&frame[udp], udp_bytes, pseudo));
  if (frame[udp + 6] == 0 && frame[udp + 7] == 0) frame[udp + 6] = frame[udp + 7] = 0xff;
  return frame;
}

}  // namespace

void Capture::CloseCapture::operator()(pcap_t* pcap) const { pcap_close(pcap); }
void Capture::CloseDumper::operator()(pcap_dumper_t* dumper) const { pcap_dump_close(dumper); }

absl::StatusOr<Capture> Capture::Create(const std::string& file) {
  Capture capture;
  capture.file_ = file;
  capture.pcap_.reset(
      pcap_open_dead_with_tstamp_precision(DLT_EN10MB, 65535, PCAP_TSTAMP_PRECISION_NANO));
  if (!capture.pcap_) return absl::ResourceExhaustedError("pcap_open_dead()");
  capture.dumper_.reset(pcap_dump_open(capture.pcap_.get(), file.c_str()));
  if (capture.dumper_) return capture;
  return absl::UnavailableError(pcap_geterr(capture.pcap_.get()));
}

void Capture::Write(absl::Time at, const Endpoint& from, const Endpoint& to,
                    const wire::Initiation& message) {
  const std::vector<uint8_t> frame = FrameOf(from, to, message);
  const timespec time = absl::ToTimespec(at);
  pcap_pkthdr header{};
  header.ts = {time.tv_sec, time.tv_nsec};
  header.caplen = header.len = static_cast<bpf_u_int32>(frame.size());
  pcap_dump(reinterpret_cast<u_char*>(dumper_.get()), &header, frame.data());
}

absl::Status Capture::Close() {
  const bool written = pcap_dump_flush(dumper_.get()) == 0;
  dumper_.reset();
  return written ? absl::OkStatus() : absl::DataLossError(absl::StrCat(file_, ": not written"));
}

}  // namespace wicket::blast
