#include "reinject/injector.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "xdp/reinject.skel.h"

namespace wicket::reinject {
namespace {

constexpr uint8_t kUdp = 17;

uint32_t SumWords(const uint8_t* bytes, size_t n, uint32_t sum) {
  for (size_t i = 0; i + 1 < n; i += 2) sum += static_cast<uint32_t>(bytes[i] << 8 | bytes[i + 1]);
  if (n % 2) sum += static_cast<uint32_t>(bytes[n - 1] << 8);
  return sum;
}

uint16_t Fold(uint32_t sum) {
  while (sum >> 16) sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

}  // namespace

void CompleteChecksum(const Packet& packet) {
  const uint8_t* ip = packet.bytes.data() + packet.ip_offset;
  uint8_t* udp = packet.bytes.data() + packet.udp_offset;
  const auto udp_bytes = static_cast<uint16_t>(udp[4] << 8 | udp[5]);
  uint32_t sum = uint32_t{kUdp} + udp_bytes;
  sum = ip[0] >> 4 == 4 ? SumWords(ip + 12, 8, sum) : SumWords(ip + 8, 32, sum);
  udp[6] = udp[7] = 0;
  uint16_t checksum = Fold(SumWords(udp, udp_bytes, sum));
  if (checksum == 0) checksum = 0xffff;
  udp[6] = static_cast<uint8_t>(checksum >> 8);
  udp[7] = static_cast<uint8_t>(checksum & 0xff);
}

void Injector::Destroy::operator()(reinject_bpf* skeleton) const {
  reinject_bpf__destroy(skeleton);
}

Injector::~Injector() = default;

absl::StatusOr<std::unique_ptr<Injector>> Injector::Open() {
  std::unique_ptr<Injector> self(new Injector());
  self->program_.reset(reinject_bpf__open_and_load());
  if (!self->program_) {
    self->program_status_ = ErrnoStatus(errno, "bpf(BPF_PROG_LOAD, reinject)");
  }
  const int on = 1;
  self->raw4_ = Fd(socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!self->raw4_.valid()) return ErrnoStatus(errno, "socket(SOCK_RAW)", "needs CAP_NET_RAW");
  setsockopt(self->raw4_.get(), IPPROTO_IP, IP_HDRINCL, &on, sizeof(on));
  self->raw6_ = Fd(socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (self->raw6_.valid()) {  // without IPv6 there are no IPv6 packets to give back
    setsockopt(self->raw6_.get(), IPPROTO_IPV6, IPV6_HDRINCL, &on, sizeof(on));
  }
  return self;
}

absl::Status Injector::RunLive(std::span<uint8_t> frame, int ifindex) {
  if (!program_) return program_status_;
  xdp_md context{};
  context.data_end = static_cast<uint32_t>(frame.size());
  context.ingress_ifindex = static_cast<uint32_t>(ifindex);
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = frame.data(),
              .data_size_in = static_cast<uint32_t>(frame.size()), .ctx_in = &context,
              .ctx_size_in = sizeof(context), .repeat = 1, .flags = BPF_F_TEST_XDP_LIVE_FRAMES);
  const int error = bpf_prog_test_run_opts(bpf_program__fd(program_->progs.reinject), &options);
  if (error == 0) return absl::OkStatus();
  return ErrnoStatus(-error, absl::StrCat("BPF_PROG_TEST_RUN(live, ifindex ", ifindex, ")"));
}

absl::Status Injector::ProbeLive(int ifindex) {
  uint8_t frame[64] = {};
  frame[12] = 0x88;  // 0x88b5: local experimental, IEEE 802
  frame[13] = 0xb5;
  return RunLive(frame, ifindex);
}

absl::Status Injector::InjectLive(const Packet& packet, int ifindex) {
  CompleteChecksum(packet);
  return RunLive(packet.bytes, ifindex);
}

absl::Status Injector::InjectRaw(const Packet& packet) {
  CompleteChecksum(packet);
  const std::span<uint8_t> ip = packet.bytes.subspan(packet.ip_offset);
  sockaddr_storage to{};
  socklen_t length = 0;
  int fd = -1;
  size_t bytes = 0;  // without Ethernet padding
  if (ip[0] >> 4 == 4) {
    auto* in = reinterpret_cast<sockaddr_in*>(&to);
    in->sin_family = AF_INET;
    memcpy(&in->sin_addr, ip.data() + 16, 4);
    length = sizeof(*in);
    fd = raw4_.get();
    bytes = static_cast<size_t>(ip[2] << 8 | ip[3]);
  } else {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&to);
    in6->sin6_family = AF_INET6;
    memcpy(&in6->sin6_addr, ip.data() + 24, 16);
    length = sizeof(*in6);
    fd = raw6_.get();
    bytes = 40 + static_cast<size_t>(ip[4] << 8 | ip[5]);
  }
  if (sendto(fd, ip.data(), bytes, MSG_DONTWAIT, reinterpret_cast<sockaddr*>(&to), length) < 0) {
    return ErrnoStatus(errno, "sendto(raw)");
  }
  return absl::OkStatus();
}

}  // namespace wicket::reinject
